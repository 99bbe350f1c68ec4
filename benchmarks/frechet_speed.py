"""Time of the Fréchet distance against the two usual roots, interleaved in one run.

Run: ``python benchmarks/frechet_speed.py [--n 3000] [--d 2048] [--repeats 3] [--sqrtm]``. Features have a spectrum that
falls as 1/k, as real ones do. "moments given" is what the peers' times mean; "with error" starts from the features and
includes both covariances and the error bar, which otherwise takes refits on resampled rows: one of them is timed.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
from scipy import linalg

from ldm_eval.stats.frechet import frechet_distance, gaussian_frechet


def timed(call: Callable[[], float]) -> tuple[float, float]:
    start = time.perf_counter()
    value = call()
    return time.perf_counter() - start, value


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--n", type=int, default=3000)
    parser.add_argument("--d", type=int, default=2048)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--sqrtm", action="store_true")
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    scale = np.arange(1, arguments.d + 1) ** -0.5
    x = rng.standard_normal((arguments.n, arguments.d)) * scale
    y = 0.1 * scale + 1.1 * rng.standard_normal((arguments.n, arguments.d)) * scale
    s1, s2 = np.cov(x.T), np.cov(y.T)
    rest = float(((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(s1) + np.trace(s2))

    def by_eigvals() -> float:
        return rest - 2 * float(np.sqrt(linalg.eigvals(s1 @ s2).astype(complex)).real.sum())

    def by_sqrtm() -> float:
        return rest - 2 * float(np.trace(linalg.sqrtm(s1 @ s2)).real)

    def refit() -> float:
        rows, others = (rng.integers(0, arguments.n, arguments.n) for _ in range(2))
        one, two = x[rows], y[others]
        return gaussian_frechet(one.mean(0), np.cov(one.T), two.mean(0), np.cov(two.T))

    calls: dict[str, Callable[[], float]] = {"eigvals": by_eigvals}
    if arguments.n > arguments.d:
        calls["ours, moments given"] = lambda: gaussian_frechet(x.mean(0), s1, y.mean(0), s2)
        calls["one refit on resampled rows"] = refit
    calls["ours, with error"] = lambda: frechet_distance(x, y).value
    if arguments.sqrtm:
        calls["sqrtm"] = by_sqrtm
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
    for _ in range(arguments.repeats):
        for name, call in calls.items():
            found[name].append(timed(call))
    reference = found["eigvals"][0][1]
    for name, runs in found.items():
        seconds = float(np.median([run[0] for run in runs]))
        ratio = float(np.median([e[0] / run[0] for e, run in zip(found["eigvals"], runs, strict=True)]))
        print(
            f"{name}: {seconds:.2f} s, {ratio:.1f}x eigvals, relative difference {abs(runs[0][1] / reference - 1):.1e}"
        )


if __name__ == "__main__":
    main()
