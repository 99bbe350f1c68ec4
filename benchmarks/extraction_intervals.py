"""How often the bounds of extraction, of its curve, and of the group checks err: simulations of known truth.

    OMP_NUM_THREADS=1 python benchmarks/extraction_intervals.py

About half a minute on one core. The pages docs/checks/privacy-extraction.md, privacy-group-leakage.md and
privacy-group-exposure.md quote it.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np
from ldm_eval_privacy.group_exposure import GroupExposure
from ldm_eval_privacy.group_leakage import GroupLeakage
from ldm_eval_privacy.group_phantoms import exposed_group, partial_copier
from numpy.typing import NDArray

from ldm_eval.api import Check, Evidence, Measurement
from ldm_eval.stats.richness import accumulation, least_richness

KINDS = (20, 100, 1000)
SKEWS = (0.0, 0.5, 1.0)
DRAWS = (60, 300, 1000, 5000)


def chances(kinds: int, skew: float) -> NDArray[np.float64]:
    """Half of the draws show one of the kinds, by Zipf's law; the other half show none."""
    weights = np.arange(1, kinds + 1) ** -skew
    return np.append(0.5 * weights / weights.sum(), 0.5)


def bounds(runs: int) -> None:
    """Print how often the lower bound of what is there errs, and the interval of the curve's end."""
    rng = np.random.default_rng(0)
    write("kinds  skew  draws  least errs  log-normal errs  mean least  mean seen  curve errs")
    for kinds in KINDS:
        for skew in SKEWS:
            p = chances(kinds, skew)
            for n in DRAWS:
                truth = (1 - (1 - p[:-1]) ** n).sum()
                counts = rng.multinomial(n, p, size=runs)[:, :-1]
                least = [least_richness(one, n, of=10 * kinds).interval.low for one in counts]
                ends = [accumulation(one, n, 10 * kinds, [n]) for one in counts]
                errs = np.mean([not end.low[0] <= truth <= end.high[0] for end in ends])
                seen = (counts > 0).sum(axis=1).mean()
                wrong = np.mean(np.array(least) > kinds)
                usual = np.mean([log_normal(one, n) > kinds for one in counts])
                rates = f"{wrong:11.3f} {usual:16.3f} {np.mean(least):11.1f} {seen:10.1f} {errs:11.3f}"
                write(f"{kinds:5} {skew:5.1f} {n:6} {rates}")


def log_normal(counts: NDArray[np.int64], n: int) -> int:
    """Chao's one-sided 95 % bound as usually taken (Biometrics 43:783, 1987), rounded down."""
    seen, once, twice = (int(part.sum()) for part in (counts > 0, counts == 1, counts == 2))
    factor = (n - 1) / n
    if twice:
        ratio = once / twice
        unseen = factor * once * ratio / 2
        variance = twice * (factor * ratio**2 / 2 + factor**2 * ratio**3 + factor**2 * ratio**4 / 4)
    else:
        unseen = factor * once * (once - 1) / 2
        variance = unseen + factor**2 * once * (2 * once - 1) ** 2 / 4
        variance -= factor**2 * once**4 / (4 * max(1.0, seen + unseen))
    if unseen <= 0:
        return seen
    return int(seen + unseen * np.exp(-1.644854 * np.sqrt(np.log1p(max(variance, 0.0) / unseen**2))))


def alarms(name: str, check: Check, phantoms: list[Evidence]) -> None:
    """Print how often the check's own alarm is raised on phantoms."""
    reports = [check.run(one) for one in phantoms]
    found = [
        one
        for report in reports
        if isinstance(report, list)
        for one in report
        if isinstance(one, Measurement) and one.name == check.phantoms.measurement
    ]
    raised = sum(map(check.phantoms.alarm.raised_by, found))
    write(f"{name}: {raised} of {len(found)} alarmed ({len(reports) - len(found)} without a number)")


def write(line: str) -> None:
    """Print one line."""
    sys.stdout.write(line + "\n")


def main() -> None:
    """Run all of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1500)
    runs = parser.parse_args().runs
    bounds(runs)
    fair = [partial_copier(seed, skewed=False) for seed in range(runs // 5)]
    alarms("reproduction gap, copies of any group", GroupLeakage(), fair)
    for shift in (0.0, 1.0):
        equal = [exposed_group(seed, shift, shift) for seed in range(runs // 3)]
        alarms(f"exposure gap, every member shifted by {shift:g}", GroupExposure(), equal)
    for shift in (0.5, 1.0, 1.5):
        one = [exposed_group(seed, shift, 0.0) for seed in range(runs // 15)]
        alarms(f"exposure gap, members of one group shifted by {shift:g}", GroupExposure(), one)


if __name__ == "__main__":
    main()
