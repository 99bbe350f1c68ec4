"""What the numbers say where their assumptions are broken.

Images that depend on each other, models fitted without copying, copies before a probe that was fitted on them, and
one-sided errors of intervals at few controls or far from one half.

python benchmarks/broken_assumptions.py [--runs 100]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
from ldm_eval_fairness.probe import fit_probe
from ldm_eval_misuse.detectability import Detectability
from ldm_eval_privacy.membership_loss import MembershipLoss
from ldm_eval_quality.frechet_distance import FrechetDistanceCheck
from ldm_eval_quality.kernel_distance import KernelDistanceCheck
from ldm_eval_quality.precision_recall import PrecisionRecallCheck
from numpy.typing import NDArray
from scipy.special import ndtri

from ldm_eval.api import AttributeContext, Check, LabelledImages, Measurement, Role, Scores
from ldm_eval.stats.class_shares import corrected_shares, label_counts
from ldm_eval.stats.proportions import newcombe
from ldm_eval.stats.roc import auc_interval
from ldm_eval.testing.evidence import PhantomEvidence, image_set

Rows = NDArray[np.float64]
D = 64


def measured(check: Check, seed: int, name: str, sets: dict[Role, Rows]) -> Measurement:
    features = {role: rows.astype(np.float32) for role, rows in sets.items()}
    found = check.run(PhantomEvidence(check.id, seed, features=features))
    assert isinstance(found, list), found
    return next(one for one in found if isinstance(one, Measurement) and one.name == name)


def bursts(rng: np.random.Generator, n: int, size: int, within: float) -> Rows:
    """N(0, I), in bursts of ``size`` rows whose variance is ``within`` about their common mean: 0 is repeats."""
    means = np.repeat(rng.standard_normal((-(-n // size), D)), size, axis=0)[:n]
    return np.asarray(np.sqrt(1 - within) * means + np.sqrt(within) * rng.standard_normal((n, D)))


def dependent(runs: int) -> None:
    print("\nSamples i.i.d. from the law of the real images; the 600 real images come in bursts. d = 64, 300 samples")
    print("| real images | excess alarm | KID low > 0 | precision | its floor | detected | accuracy | its floor |")
    laws: dict[str, Callable[[np.random.Generator], Rows]] = {
        "independent": lambda g: bursts(g, 600, 1, 0.0),
        "one in ten is there twice": lambda g: np.concatenate([bursts(g, 540, 1, 0.0), bursts(g, 60, 2, 0.0)]),
        "each is there twice": lambda g: bursts(g, 600, 2, 0.0),
        "bursts of 10, within 0.2 of the variance": lambda g: bursts(g, 600, 10, 0.2),
    }
    for label, law in laws.items():
        rows: list[tuple[float, ...]] = []
        for seed in range(runs):
            g = np.random.default_rng([seed, 1])
            sets: dict[Role, Rows] = {"samples": g.standard_normal((300, D)), "reference": law(g)}
            excess = measured(FrechetDistanceCheck(), seed, "frechet_distance_excess", sets)
            kernel = measured(KernelDistanceCheck(), seed, "kernel_distance", sets)
            precision = measured(PrecisionRecallCheck(), seed, "precision", sets)
            told = measured(Detectability(), seed, "detection_accuracy", {**sets, "holdout": sets["reference"]})
            low = (excess.interval.low > 0, kernel.interval.low > 0)
            rows.append(
                (*low, precision.value, precision.floor or 0.0, told.interval.low > 0.5, told.value, told.floor or 0.0)
            )
        print(f"| {label} | " + " | ".join(f"{one:.2f}" for one in np.mean(rows, axis=0)) + " |")


def gap(runs: int) -> None:
    print("\nGap (holdout minus training), 500 of each, 300 samples, d = 64, error: estimated over true")
    print("| model | mean gap | error | alarm |")
    models: dict[str, Callable[[np.random.Generator, Rows], Rows]] = {
        "the law itself": lambda g, training: g.standard_normal((300, D)),
        "Gaussian fitted to the training images, no copies": lambda g, training: g.multivariate_normal(
            training.mean(axis=0), np.cov(training.T), 300, method="cholesky"
        ),
    }
    for copies in (0.1, 0.5, 1.0):
        models[f"{copies:.0%} copies, the rest from the law"] = partial(_copied, copies=copies)
    for label, model in models.items():
        rows = []
        for seed in range(runs):
            g = np.random.default_rng([seed, 2])
            training, holdout = g.standard_normal((500, D)), g.standard_normal((500, D))
            drawn = model(g, training)
            sets: dict[Role, Rows] = {"samples": drawn, "training": training, "holdout": holdout, "reference": holdout}
            found = measured(FrechetDistanceCheck(), seed, "frechet_distance_gap", sets)
            rows.append((found.value, (found.interval.high - found.interval.low) / 3.92, found.interval.low > 0))
        value, error, alarm = np.mean(rows, axis=0)
        spread = float(np.std([row[0] for row in rows], ddof=1))
        print(f"| {label} | {value:.2f} | {error / spread:.2f} | {alarm:.2f} |")


def _copied(g: np.random.Generator, training: Rows, *, copies: float) -> Rows:
    drawn = g.standard_normal((300, D))
    rows = g.random(300) < copies
    drawn[rows] = training[g.integers(0, len(training), 300)][rows]
    return drawn


def membership_of_bursts(runs: int) -> None:
    print("\nMembership AUC of a model that knows no image: losses come in bursts of 10, 240 images of each set")
    print("| bursts | alarm |")
    for label, size, mixed in (("none", 1, False), ("dealt out image by image", 10, True), ("kept whole", 10, False)):
        alarms = []
        for seed in range(runs):
            g = np.random.default_rng([seed, 4])
            losses = bursts(g, 480, size, 0.2)[:, :6].astype(np.float32)
            losses = losses[g.permutation(480)] if mixed else losses
            halves: dict[Role, slice] = {"training": slice(0, 240), "holdout": slice(240, 480)}
            evidence = PhantomEvidence(
                MembershipLoss.id,
                seed,
                images={r: image_set(g.integers(0, 256, (240, 1, 6, 6), dtype=np.uint8), r) for r in halves},
                features={r: g.standard_normal((240, 16)).astype(np.float32) for r in halves},
                scores={"denoising_loss": {r: Scores(np.arange(240), losses[part]) for r, part in halves.items()}},
            )
            found = MembershipLoss().run(evidence)
            if isinstance(found, list):  # else the blind classifier was alarmed by chance
                alarms.append(next(m for m in found if isinstance(m, Measurement)).interval.low > 0.5)
        print(f"| {label} | {np.mean(alarms):.2f} of {len(alarms)} |")


def probe_and_copies(runs: int) -> None:
    print("\nProbe fitted on 600 training images, true share 0.3 in 1,000 samples of which a share are training images")
    print("| recognised on holdout | copies | corrected share | true | holds it |")
    for apart in (4.0, 5.0):
        for copies in (0.0, 0.1, 0.5, 1.0):
            rows = [_probed(seed, apart, copies) for seed in range(runs)]
            value, truth, holds, right = np.mean(rows, axis=0)
            print(f"| {right:.2f} | {copies:.0%} | {value:.3f} | {truth:.3f} | {holds:.2f} |")


def _probed(seed: int, apart: float, copies: float, d: int = 256, n: int = 600) -> tuple[float, float, bool, float]:
    g = np.random.default_rng([seed, 3])

    def draw(count: int) -> tuple[Rows, NDArray[np.str_]]:
        truth = np.where(g.random(count) < 0.3, "a", "b")
        rows = g.standard_normal((count, d))
        rows[:, 0] += np.where(truth == "a", 0.5, -0.5) * apart
        return rows, truth

    def labelled(rows: Rows, truth: NDArray[np.str_], name: str) -> LabelledImages:
        blank = image_set(np.zeros((len(rows), 1, 1, 1), dtype=np.uint8), name)
        return LabelledImages(replace(blank, groups={"g": truth}), rows.astype(np.float32))

    training, holdout = draw(n), draw(n)
    probe = fit_probe(AttributeContext("g", labelled(*training, "training"), labelled(*holdout, "holdout"), seed))
    rows, truth = draw(1000)
    copied, which = g.random(1000) < copies, g.integers(0, n, 1000)
    rows[copied], truth[copied] = training[0][which[copied]], training[1][which[copied]]
    given = probe.classify(np.zeros((1000, 1, 1, 1), dtype=np.uint8), rows.astype(np.float32))
    confusion = probe.confusion
    share = corrected_shares(label_counts(given, confusion.classes), confusion)[0]
    real = float(np.mean(truth == "a"))
    right = sum(row[i] for i, row in enumerate(confusion.counts)) / n
    return share.value, real, share.low <= real <= share.high, right


def few_controls(runs: int) -> None:
    print("\nNewcombe, both one-sided errors (nominal 0.025): samples at 0.06, control at 0.01, excess 0.05")
    print("| samples | judged holdout | low > truth | high < truth |")
    for n, m in ((400, 10), (400, 50), (400, 200), (5000, 100), (5000, 1000)):
        g = np.random.default_rng([n, m])
        counts = zip(g.binomial(n, 0.06, 60 * runs), g.binomial(m, 0.01, 60 * runs), strict=True)
        found = [newcombe(int(k), n, int(f), m) for k, f in counts]
        low, high = np.mean([one.low > 0.05 for one in found]), np.mean([one.high < 0.05 for one in found])
        print(f"| {n} | {m} | {low:.3f} | {high:.3f} |")


def auc_bounds(runs: int) -> None:
    print("\nAUC interval, both one-sided errors (nominal 0.025): N(0, 1) against N(m, 1)")
    print("| each | AUC | low > truth | high < truth |")
    for n in (25, 128):
        for truth in (0.5, 0.75, 0.9, 0.97):
            g = np.random.default_rng([n, round(100 * truth)])
            shift = np.sqrt(2) * float(ndtri(truth))
            found = [
                auc_interval(g.standard_normal(n) + shift, g.standard_normal(n)).interval for _ in range(30 * runs)
            ]
            low, high = np.mean([one.low > truth for one in found]), np.mean([one.high < truth for one in found])
            print(f"| {n} | {truth} | {low:.3f} | {high:.3f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=100)
    runs = parser.parse_args().runs
    for part in (dependent, gap, membership_of_bursts, probe_and_copies, few_controls, auc_bounds):
        part(runs)


if __name__ == "__main__":
    main()
