"""What a reference file costs: seconds to write and to read, anonymous memory, and bytes.

    OMP_NUM_THREADS=2 python benchmarks/reference_files.py [--n 50000] [--d 2048]

Features are random and memory-mapped, as they come out of the cache of a run. Pages of a mapped file can be dropped and
read again, so the memory counted is anonymous (RssAnon of /proc/self/status, every 10 ms, less what there was before).
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ldm_eval.api import ExtractorInfo, Features, ImageSet
from ldm_eval.store.reference import read_reference, write_reference


def anonymous() -> float:
    """MB of private memory of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1e3


def timed(what: str, work: Callable[[], object]) -> None:
    """Run ``work`` and print its seconds and its largest memory."""
    before, most, done = anonymous(), [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(0.01):
            most[0] = max(most[0], anonymous() - before)

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.perf_counter()
    work()
    seconds = time.perf_counter() - start
    done.set()
    watcher.join()
    print(f"{what:6} {seconds:6.2f} s {most[0]:8.0f} MB")


def main() -> None:
    """Write and read one file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=50_000)
    parser.add_argument("--d", type=int, default=2048)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        values = np.lib.format.open_memmap(
            Path(folder) / "values.npy", mode="w+", dtype=np.float32, shape=(given.n, given.d)
        )
        rng = np.random.default_rng(0)
        for start in range(0, given.n, 4096):
            values[start : start + 4096] = rng.standard_normal(values[start : start + 4096].shape, dtype=np.float32)
        values.flush()
        images = ImageSet(
            "random", "", np.zeros((given.n, 3, 1, 1), np.uint8), tuple(map(str, range(given.n))), "0" * 64
        )
        info = ExtractorInfo("random", "0" * 64, given.d, None, "none", "none")
        path = Path(folder) / "reference.npz"
        timed("write", lambda: write_reference(path, images, [(info, Features(values))], {}))
        timed("read", lambda: read_reference(path))
        print(f"size   {path.stat().st_size / 1e6:6.0f} MB")


if __name__ == "__main__":
    main()
