"""Memory and time of every quality check that reads features, by the number of images, each in a process of its own.

    OMP_NUM_THREADS=1 python benchmarks/memory.py [--sizes 12500 25000 50000 100000] [--d 2048] [--checks ID ...]

Samples, reference (which is the holdout) and training images have as many features each, in memory-mapped float32
files as a run has them: at 100,000 x 2048 each file holds 819 MB. A child measures one check at one size and prints the
largest *anonymous* memory it held (RssAnon of /proc/self/status, every 10 ms): pages of a mapped file can be dropped
and read again, so they do not count. One thread shows the work itself, as processor time, also where the machine is
busy. The kernel holds the child to ``--limit`` of private memory (RLIMIT_DATA); a check
that wants more fails there. A size is left out where the time of the two before it says that it takes longer than
``--patience`` seconds of processor time, and is then printed as an estimate.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ldm_eval.api import CheckSpec, ExtractorInfo, FeatureStatistics, ImageSet, Invalid, Measurement, NotApplicable
from ldm_eval.hooks.catalogue import Catalogue
from ldm_eval.testing.evidence import PhantomEvidence

ROLES = ("samples", "reference", "training")
CLASSES = 1008
BLOCK = 4096


def features_file(folder: Path, role: str, n: int, d: int) -> Path:
    """Correlated, rectified features of a hundred classes; every role has draws of its own."""
    path = folder / f"{role}-{d}.npy"
    rng = np.random.default_rng((7, d))
    mixing = rng.standard_normal((64, d)).astype(np.float32) / 8
    classes = rng.standard_normal((100, d)).astype(np.float32) / 2
    out = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(n, d))
    rng = np.random.default_rng((ROLES.index(role), d))
    for start in range(0, n, BLOCK):
        rows = min(BLOCK, n - start)
        block = rng.standard_normal((rows, 64), dtype=np.float32) @ mixing
        block += 0.5 * rng.standard_normal((rows, d), dtype=np.float32) + classes[rng.integers(100, size=rows)]
        out[start : start + rows] = np.maximum(block, 0)
    out.flush()
    return path


def stand_in(features: NDArray[np.float32], name: str) -> ImageSet:
    """A set of which nothing but features is known, with two groups and ten classes."""
    n = len(features)
    return ImageSet(
        name=name,
        split="",
        pixels=np.zeros((n, 1, 0, 0), dtype=np.uint8),
        ids=tuple(map(str, range(n))),
        digest=f"{name}-{n}",
        groups={"group": np.array(["a", "b"])[np.arange(n) % 2]},
        labels=np.arange(n, dtype=np.int64) % 10,
    )


def readable(spec: CheckSpec) -> bool:
    """Checks that features and logits are enough for."""
    needs = spec.needs
    reads = bool(needs.features or needs.logits)
    return spec.family == "quality" and reads and not (needs.scores or needs.attributes or needs.pixels or needs.text)


def measure(check: str, n: int, d: int, folder: Path) -> dict[str, object]:
    spec = Catalogue.discover().checks[check]
    held = {role: np.load(folder / f"{role}-{d}.npy", mmap_mode="r")[:n] for role in ROLES}
    sets = {role: stand_in(values, role) for role, values in held.items()}
    for twin, original in (("holdout", "reference"), ("reconstruction", "training")):
        held[twin], sets[twin] = held[original], sets[original]
    statistics = None
    if spec.needs.statistics:
        mean = held["reference"].mean(axis=0, dtype=np.float64)
        statistics = FeatureStatistics("file", mean, np.eye(d), n, "0" * 64)
    evidence = PhantomEvidence(
        check,
        0,
        images=sets,
        features=held,
        logits={role: values[:, : min(d, CLASSES)] for role, values in held.items()},
        statistics=statistics,
        extractor=ExtractorInfo("phantom", "0" * 64, d, min(d, CLASSES), "none", "Apache-2.0"),
    )
    instrument = spec.load()
    before, watch = anonymous(), Watch()
    start, worked = time.perf_counter(), time.process_time()
    found = instrument.run(evidence)
    seconds, worked = time.perf_counter() - start, time.process_time() - worked
    refused = found.reason if isinstance(found, NotApplicable | Invalid) else ""
    count = 0 if refused else sum(isinstance(one, Measurement) for one in found)  # type: ignore[union-attr]
    return {
        "seconds": seconds,
        "worked": worked,
        "peak": watch.stop(),
        "before": before,
        "measurements": count,
        "refused": refused,
    }


def anonymous() -> int:
    """Bytes of this process that no file backs."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("/proc/self/status has no RssAnon; this benchmark needs Linux.")


class Watch:
    """The largest anonymous memory from now to ``stop``."""

    def __init__(self) -> None:
        self._peak, self._done = 0, threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        while not self._done.wait(0.01):
            self._peak = max(self._peak, anonymous())

    def stop(self) -> int:
        """End watching and return what was seen, in bytes."""
        self._done.set()
        self._thread.join()
        return max(self._peak, anonymous())


def child(check: str, n: int, d: int, folder: Path, limit: int) -> dict[str, object]:
    """One check at one size in a fresh process; ``error`` holds the last line of a failure."""
    command = [sys.executable, __file__, "--child", check, "--sizes", str(n), "--d", str(d)]
    done = subprocess.run(
        [*command, "--folder", str(folder), "--limit", str(limit)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        return {"error": (done.stderr.strip().splitlines() or ["killed"])[-1][:200]}
    result: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return result


def report(check: str, sizes: list[int], d: int, folder: Path, limit: int, patience: float) -> None:
    times: list[tuple[int, float]] = []
    for n in sizes:
        if len(times) >= 2:
            (n0, t0), (n1, t1) = times[-2:]
            slope = math.log(t1 / t0) / math.log(n1 / n0)
            expected = t1 * (n / n1) ** slope
            if expected > patience:
                print(
                    f"{check:34s} {n:7d}  about {expected:9.0f} s of processor time (not run; grows as N^{slope:.2f})",
                    flush=True,
                )
                continue
        found = child(check, n, d, folder, limit)
        if "error" in found:
            print(f"{check:34s} {n:7d}  failed: {found['error']}", flush=True)
            return
        times.append((n, float(str(found["worked"]))))
        note = f"  refused: {found['refused']}" if found["refused"] else ""
        peak = float(str(found["peak"])) / 1e6
        print(
            f"{check:34s} {n:7d}  {float(str(found['seconds'])):8.1f} s  {times[-1][1]:8.1f} s  {peak:7.0f} MB{note}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[12_500, 25_000, 50_000, 100_000])
    parser.add_argument("--d", type=int, default=2048)
    parser.add_argument("--checks", nargs="*")
    parser.add_argument("--folder", type=Path, help="where the features lie, or are put; kept")
    parser.add_argument("--limit", type=int, default=4 << 30, help="bytes of private memory a check may hold")
    parser.add_argument("--patience", type=float, default=120.0)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        resource.setrlimit(resource.RLIMIT_DATA, (given.limit, given.limit))
        print(json.dumps(measure(given.child, given.sizes[0], given.d, given.folder)))
        return
    checks = given.checks or sorted(id_ for id_, spec in Catalogue.discover().checks.items() if readable(spec))
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for role in ROLES:
            path = folder / f"{role}-{given.d}.npy"
            if not path.is_file() or len(np.load(path, mmap_mode="r")) < max(given.sizes):
                features_file(folder, role, max(given.sizes), given.d)
        print(f"d = {given.d}, limit {given.limit / 1e9:.1f} GB, threads {os.environ.get('OMP_NUM_THREADS', 'all')}")
        print(f"{'check':34s} {'N':>7s}  {'wall':>10s}  {'processor':>10s}  {'peak':>10s}")
        for check in checks:
            report(check, given.sizes, given.d, folder, given.limit, given.patience)


if __name__ == "__main__":
    main()
