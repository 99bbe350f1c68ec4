"""How often quality/per_class raises a false alarm on perfect classes, and how often its intervals hold the truth.

    python benchmarks/class_interval.py --runs 200

Ten classes, each N(0, I) in d dimensions; the first is shifted by ``shift`` in every feature. *All hold*: the intervals
of all ten excesses hold their truths at once, which Bonferroni promises in 95 % of runs.
"""

from __future__ import annotations

import argparse

import numpy as np
from ldm_eval_quality.conditional_phantoms import conditional
from ldm_eval_quality.per_class import PerClassCheck

from ldm_eval.api import Invalid, Measurement, NotApplicable

CLASSES = 10
CASES = ((8, 100, 0.0), (8, 100, 0.5), (64, 100, 0.0), (64, 100, 0.2), (64, 30, 0.0), (256, 30, 0.0), (256, 30, 0.2))
"""(d, samples of each class, shift)."""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=200)
    runs = parser.parse_args().runs
    print(
        "| d | n of each class | shift | truth | mean worst | worst seen | worst holds truth | all hold | short seen |"
    )
    print("|" + "---|" * 9)
    for d, n, shift in CASES:
        worst, seen, holds, together, short = [], 0, 0, 0, 0
        truth = d * shift**2
        for seed in range(runs):
            evidence = conditional(seed, shift=shift, classes=CLASSES, n=n, m=2 * n, dimension=d)
            report = PerClassCheck().run(evidence)
            if isinstance(report, NotApplicable | Invalid):
                raise SystemExit(report.reason)
            found = {(one.name, one.group): one for one in report if isinstance(one, Measurement)}
            top = found["worst_class_frechet_distance_excess", None]
            worst.append(top.value)
            seen += top.interval.low > 0
            holds += top.interval.low <= truth <= top.interval.high
            bounds = [found["class_frechet_distance_excess", f"class {i}"].interval for i in range(CLASSES)]
            truths = [truth] + [0.0] * (CLASSES - 1)
            together += all(one.low <= true <= one.high for one, true in zip(bounds, truths, strict=True))
            short += found["worst_class_coverage_shortfall", None].interval.low > 0
        shares = " | ".join(f"{count / runs:.3f}" for count in (seen, holds, together, short))
        print(f"| {d} | {n} | {shift} | {truth:.3g} | {np.mean(worst):.3g} | {shares} |")


if __name__ == "__main__":
    main()
