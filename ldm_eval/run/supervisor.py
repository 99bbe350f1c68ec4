"""Keeping a worker process at work, and replacing it when it hangs, exits or crashes."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, final

from ldm_eval.errors import PluginError, StoreError
from ldm_eval.run.jobs import CheckJob, ScoreJob, WorkerSetup, job_to_json
from ldm_eval.run.tuning import waiting_policy

__all__ = ["Supervisor", "WorkerLost"]

_START_SECONDS = 120.0


class WorkerLost(Exception):  # noqa: N818 - it says what happened to the worker, it is not an error of ours
    """The worker did not answer: it hung (and was stopped), exited or crashed. The message says which."""


@final
class Supervisor:
    """Runs jobs in one worker process, started when first needed and reused from job to job.

    Args:
        setup: What a new worker is told.
        log: File that receives what workers and their plugins print.
    """

    def __init__(self, setup: WorkerSetup, log: Path) -> None:
        self._setup = setup
        self._log = log
        self._process: subprocess.Popen[str] | None = None
        self._answers: queue.Queue[str | None] = queue.Queue()

    def __enter__(self) -> Supervisor:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def call(
        self, job: CheckJob | ScoreJob, timeout: float, on_progress: Callable[[int], None] | None = None
    ) -> Mapping[str, Any]:
        """Do one job and return its answer (``{"done": ...}`` or ``{"failed": line}``).

        Args:
            job: What to do.
            timeout: Seconds without any sign of progress after which the worker is stopped.
            on_progress: Called with the number of images done.

        Raises:
            WorkerLost: when there is no answer.
            PluginError: when no worker can be started at all.
            StoreError: when the disk is full.
        """
        process = self._process if self._process and self._process.poll() is None else self._start()
        try:
            self._send(process, job_to_json(job))
            while True:
                answer = self._receive(timeout)
                if "progress" not in answer:
                    return answer
                if on_progress:
                    on_progress(int(answer["progress"]))
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the worker and everything it started."""
        process, self._process = self._process, None
        if process is None:
            return
        if os.name == "posix":
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream:
                with contextlib.suppress(OSError):
                    stream.close()

    def _start(self) -> subprocess.Popen[str]:
        self.stop()
        threads = str(self._setup.threads)
        environment = {
            **waiting_policy(),
            **os.environ,
            "OMP_NUM_THREADS": threads,
            "OPENBLAS_NUM_THREADS": threads,
            "MKL_NUM_THREADS": threads,
        }
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("ab") as log:
            process = subprocess.Popen(  # noqa: S603 - our own module, no shell
                [sys.executable, "-c", _BOOT, json.dumps(self._setup.sys_path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                encoding="utf-8",
                env=environment,
                start_new_session=True,
            )
        self._process = process
        answers: queue.Queue[str | None] = queue.Queue()
        self._answers = answers
        threading.Thread(target=_pump, args=(process, answers), daemon=True).start()
        try:
            self._send(process, asdict(self._setup))
            self._receive(_START_SECONDS)
        except WorkerLost as error:
            self.stop()
            raise PluginError(f"The worker process for checks could not start ({error}); see {self._log}.") from error
        return process

    def _send(self, process: subprocess.Popen[str], content: Mapping[str, Any]) -> None:
        stream = process.stdin
        try:
            if stream:
                stream.write(json.dumps(content) + "\n")
                stream.flush()
        except OSError as error:
            raise WorkerLost(self._how_it_ended()) from error

    def _receive(self, timeout: float) -> Mapping[str, Any]:
        try:
            line = self._answers.get(timeout=timeout)
        except queue.Empty:
            raise WorkerLost(f"it did not answer within {timeout:g} s and was stopped") from None
        if line is None:
            raise WorkerLost(self._how_it_ended())
        try:
            answer: Mapping[str, Any] = json.loads(line)
        except ValueError:  # it was killed while it wrote
            raise WorkerLost(self._how_it_ended()) from None
        if "stopped" in answer:
            raise StoreError(str(answer["stopped"]))
        return answer

    def _how_it_ended(self) -> str:
        if self._process is None:
            return "the worker process is gone"
        deadline = time.monotonic() + 5
        while self._process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        code = self._process.returncode
        if code is None:
            return "the worker process closed its output"
        if code < 0:
            return f"the worker process was killed by signal {-code} ({signal.Signals(-code).name})"
        return f"the worker process exited with code {code}"


_BOOT = (
    "import json, sys; sys.path[:] = list(dict.fromkeys([*json.loads(sys.argv[1]), *sys.path])); "
    "from ldm_eval.run.worker import main; sys.exit(main())"
)
"""Takes over the caller's import path first, so that a source tree or a notebook finds the same ldm-eval."""


def _pump(process: subprocess.Popen[str], answers: queue.Queue[str | None]) -> None:
    """Move answers from the pipe to the queue; None marks the end. A thread, because Windows cannot select on pipes."""
    if process.stdout:
        with contextlib.suppress(ValueError, OSError):
            for line in process.stdout:
                answers.put(line)
    answers.put(None)
