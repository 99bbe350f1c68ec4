"""Processes that calibrate: one per instrument, stopped when it gives no sign of life, so that none harms another."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path

from ldm_eval.store.certificate import Instrument, instrument_from_json

__all__ = ["ANSWER", "JOB", "SIGNS", "Job", "Outcome", "run_jobs"]

JOB, SIGNS, ANSWER = "job.json", "signs", "answer.json"
"""Files of the folder that a process and its supervisor share; ``signs`` grows by a byte with every seed."""

_POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Job:
    """What one process does.

    Attributes:
        name: The instrument.
        seeds: Seeds per phantom; 0: time one seed of each and answer with that.
        first_seed: First of the consecutive seeds.
        disabled: Plugins that its catalogue leaves out.
        extra: Plugin modules that its catalogue adds.
    """

    name: str
    seeds: int
    first_seed: int
    disabled: tuple[str, ...]
    extra: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one process ended.

    Attributes:
        name: The instrument.
        instrument: What was found; None when the process gave no answer.
        problem: Then, why.
        seconds: What it took, from the start of the process to its end.
        seconds_per_seed: Of both phantoms together; 0 unless it was timed.
    """

    name: str
    instrument: Instrument | None
    problem: str = ""
    seconds: float = 0.0
    seconds_per_seed: float = 0.0


def run_jobs(jobs: Sequence[Job], at_once: int, patience: float, on_outcome: Callable[[Outcome], None]) -> None:
    """Do ``jobs``, ``at_once`` processes at a time; ``on_outcome`` is called in this thread as each ends.

    Args:
        jobs: What to do.
        at_once: Processes at a time, each with one thread.
        patience: Seconds without a sign of life after which a process is stopped.
        on_outcome: Told how each ended.
    """
    stop = threading.Event()
    with ThreadPoolExecutor(max_workers=at_once) as pool:
        running = [pool.submit(_supervised, job, patience, stop) for job in jobs]
        try:
            for future in as_completed(running):
                on_outcome(future.result())
        except BaseException:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _supervised(job: Job, patience: float, stop: threading.Event) -> Outcome:
    with tempfile.TemporaryDirectory(prefix="ldm-eval-calibrate-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        started = time.monotonic()
        (folder / JOB).write_text(json.dumps(asdict(job)), encoding="utf-8")
        with _process(folder) as process:
            lost = _wait(process, folder / SIGNS, patience, stop)
        try:
            answer = json.loads((folder / ANSWER).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return Outcome(job.name, None, lost or _how_it_ended(process.returncode))
    seconds = time.monotonic() - started
    return Outcome(job.name, instrument_from_json(answer["instrument"]), "", seconds, answer["seconds_per_seed"])


def _wait(process: subprocess.Popen[bytes], signs: Path, patience: float, stop: threading.Event) -> str:
    """Until the process ends; a sentence when it had to be given up."""
    seen, since = 0, time.monotonic()
    while process.poll() is None:
        if stop.wait(_POLL_SECONDS):
            return "it was interrupted"
        grown = signs.stat().st_size if signs.exists() else 0
        if grown > seen:
            seen, since = grown, time.monotonic()
        elif time.monotonic() - since > patience:
            return f"it hung: no seed was finished within {patience:g} s, and it was stopped"
    return ""


@contextlib.contextmanager
def _process(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process of its own session; on the way out it and everything that it started is ended."""
    one_thread = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 - our own module, no shell
            [sys.executable, "-c", _BOOT, json.dumps(sys.path), str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "OMP_WAIT_POLICY": "PASSIVE", **one_thread},
            start_new_session=True,
        )
    try:
        yield process
    finally:
        if os.name == "posix":
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
        process.wait()


def _how_it_ended(code: int) -> str:
    if code < 0:
        return f"its process was killed by signal {-code} ({signal.Signals(-code).name})"
    return f"its process exited with code {code} before it was done"


_BOOT = (
    "import json, sys; sys.path[:] = list(dict.fromkeys([*json.loads(sys.argv[1]), *sys.path])); "
    "from ldm_eval.testing.calibration_worker import main; main(sys.argv[2])"
)
"""Takes over the caller's import path first, so that a source tree or a notebook finds the same ldm-eval."""
