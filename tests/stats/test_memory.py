"""Memory-mapped features are read where they lie: what is held beside them does not grow with their number."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="reads /proc/self/status")

MEGABYTES_OF_A_SET = 67
"""8,192 x 2,048 or 2,048 x 8,192 features in float32. A copy would cost that once, or twice in float64."""

CHILD = """
import sys, threading
import numpy as np
from pathlib import Path
from ldm_eval.stats import self_neighbours
from ldm_eval.stats.feature_sets import rows_not_finite
from ldm_eval.stats.frechet import frechet_distance
from ldm_eval.stats.kernels import kernel_distance
from ldm_eval.stats.manifolds import manifold_overlap
from ldm_eval.stats.neighbours import nearest

self_neighbours._HELD = 0  # as for a set too large to be kept centred
MEASURES = {
    "frechet_distance": frechet_distance,
    "kernel_distance": kernel_distance,
    "manifold_overlap": manifold_overlap,
    "rows_not_finite": lambda x, y: rows_not_finite(x),
    "nearest": lambda x, y: nearest(x[:200], y, 5),
}

def anonymous():
    line = next(one for one in Path("/proc/self/status").read_text().splitlines() if one.startswith("RssAnon"))
    return int(line.split()[1]) / 1024

measure, columns = MEASURES[sys.argv[1]], int(sys.argv[2])
x, y = (np.load(name, mmap_mode="r").reshape(-1, columns) for name in sys.argv[3:])
measure(x[:50, :64], y[:50, :64])  # what libraries set up once is no part of it
before, peak, done = anonymous(), [0.0], threading.Event()

def watch():
    while not done.wait(0.002):
        peak[0] = max(peak[0], anonymous())

thread = threading.Thread(target=watch, daemon=True)
thread.start()
measure(x, y)
done.set()
thread.join()
print(peak[0] - before)
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("features")
    paths = [folder / "x.npy", folder / "y.npy"]
    for seed, path in enumerate(paths):
        np.save(path, np.random.default_rng(seed).standard_normal((2048, 8192), dtype=np.float32))
    return paths


@pytest.mark.parametrize(
    ("measure", "columns", "allowed"),
    [
        ("frechet_distance", 256, 45),  # 65,536 rows: two float64 copies would be 268
        ("kernel_distance", 8192, 45),
        ("manifold_overlap", 8192, 120),  # two centred tiles of 1024 rows and what the float64 decisions take
        ("rows_not_finite", 2048, 30),
        ("nearest", 2048, 110),  # one block of the index in float32 is held: up to 256, here the whole index
    ],
)
def test_no_copy_of_a_set_is_held(files: list[Path], measure: str, columns: int, allowed: int) -> None:
    command = [sys.executable, "-c", CHILD, measure, str(columns), *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert float(done.stdout) < allowed, f"{float(done.stdout):.0f} MB beside sets of {MEGABYTES_OF_A_SET} MB each"
