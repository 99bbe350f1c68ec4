"""How often is an effect of a given size caught? Curves from the formulas, dots from runs of the real checks.

Run: ``OMP_NUM_THREADS=1 python benchmarks/power_curves.py [--runs 400] [--only copies epsilon ...]``.
Prints one Markdown table for each figure and writes ``docs/checks/power-*.png``. *Caught* means that the check raises
its own alarm: the lower bound exceeds what a faultless model has. A dot is the share of runs of the check on phantoms
that did, with its 95 % Clopper-Pearson interval; nothing of the formula is used to make it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from ldm_eval.api import Check, Evidence, Interval, Measurement, Scores
from ldm_eval.stats.designs import AucDesign, DistanceDesign, WorstGapDesign
from ldm_eval.stats.power import Allowed, Design, DifferenceDesign
from ldm_eval.stats.proportions import clopper_pearson
from ldm_eval.stats.shares import BinaryErrors

COLOURS = ("#0072B2", "#D55E00", "#009E73")
LABELLED, SENSITIVITY, SPECIFICITY = 400, 0.945, 0.98
DIMENSION, PILOT_N, PILOTS = 16, 600, 20


@dataclass(frozen=True, slots=True)
class Panel:
    """One figure.

    Attributes:
        name: In the file's name and for ``--only``.
        title: Heading.
        x_label: What the size of the effect is.
        n_label: What n counts.
        limit: The alarm: the lower bound is above it.
        design: The formula.
        truth: Effect -> true value of the measurement.
        measurement: Name of the measurement.
        check: Makes the check.
        phantom: (seed, effect, n) -> evidence.
        sizes: n of each curve -> effects of its dots.
        span: Effects from and to which the curves are drawn.
        log: Draw effects on a logarithmic scale.
        points: Effects at which a curve is evaluated.
        cost: Divides the number of runs at each n.
    """

    name: str
    title: str
    x_label: str
    n_label: str
    limit: float
    design: Design
    truth: Callable[[float], float]
    measurement: str
    check: Callable[[], Check]
    phantom: Callable[[int, float, int], Evidence]
    sizes: dict[int, tuple[float, ...]]
    span: tuple[float, float]
    log: bool = False
    points: int = 200
    cost: dict[int, int] = field(default_factory=dict)

    def power(self, effect: float, n: int) -> float:
        """By the formula."""
        return float(self.design.chances(self.truth(effect), [n], Allowed(highest=self.limit)).fails[0])

    def caught(self, effect: float, n: int, seeds: range) -> int:
        """How many runs of the check raised the alarm."""
        check, hits = self.check(), 0
        for seed in seeds:
            interval = measured(check, self.phantom(seed, effect, n), self.measurement)
            hits += interval is not None and interval.low > self.limit
        return hits


def measured(check: Check, evidence: Evidence, name: str) -> Interval | None:
    """The interval of one measurement; None when the check gave no number."""
    found = check.run(evidence)
    if not isinstance(found, Sequence):
        return None
    return next(one.interval for one in found if isinstance(one, Measurement) and one.name == name)


def copies() -> Panel:
    """privacy/near_copies: a copier, as many holdout images as samples."""
    from ldm_eval_privacy.near_copies import NearCopies
    from ldm_eval_privacy.phantoms import copier

    return Panel(
        name="near-copies",
        title="Near copies: chance that the excess is seen",
        x_label="true copy rate",
        n_label="samples",
        limit=0.0,
        design=DifferenceDesign(control=0.0, controls=0.5),
        truth=lambda effect: effect,
        measurement="near_copy_excess",
        check=NearCopies,
        phantom=lambda seed, effect, n: copier(seed, effect, samples=n, holdout=n),
        sizes={
            100: (0.02, 0.05, 0.08, 0.12, 0.2),
            1000: (0.003, 0.005, 0.008, 0.012, 0.02),
            10_000: (0.0003, 0.0006, 0.0009, 0.0013, 0.002),
        },
        span=(1e-4, 0.3),
        log=True,
        cost={1000: 2, 10_000: 8},
    )


def shares() -> Panel:
    """fairness/representation: two groups through a classifier with errors."""
    from ldm_eval_fairness.phantoms import chosen_share
    from ldm_eval_fairness.representation import Representation

    ours = BinaryErrors(SENSITIVITY * LABELLED, LABELLED, SPECIFICITY * LABELLED, LABELLED)
    theirs = BinaryErrors(SPECIFICITY * LABELLED, LABELLED, SENSITIVITY * LABELLED, LABELLED)
    return Panel(
        name="share-gap",
        title="Representation: chance that a gap is seen",
        x_label="distance of the true share from its target of 50 %",
        n_label="samples",
        limit=0.0,
        design=WorstGapDesign((0.5, 0.5), (1.0, -1.0), (ours, theirs)),
        truth=lambda effect: effect,
        measurement="worst_share_gap",
        check=Representation,
        phantom=lambda seed, effect, n: chosen_share(
            seed,
            share=0.5 + effect,
            n=n,
            labelled=LABELLED,
            sensitivity=SENSITIVITY,
            specificity=SPECIFICITY,
        ),
        sizes={
            300: (0.0, 0.04, 0.07, 0.1, 0.13),
            1000: (0.0, 0.03, 0.045, 0.06, 0.08),
            3000: (0.0, 0.02, 0.03, 0.04, 0.06),
        },
        span=(0.0, 0.15),
    )


def frechet() -> Panel:
    """quality/frechet_distance: features shifted; the error comes from pilots of 600 samples at shifts 0 and 0.1."""
    from ldm_eval_quality.frechet_distance import FrechetDistanceCheck
    from ldm_eval_quality.phantoms import gaussian

    def phantom(seed: int, effect: float, n: int) -> Evidence:
        name = "quality/frechet_distance"
        return gaussian(seed, check=name, dimension=DIMENSION, n=n, m=2 * n, shift=effect)

    def error(effect: float) -> float:
        check = FrechetDistanceCheck()
        pilots = [
            measured(check, phantom(10**6 + i, effect, PILOT_N), "frechet_distance_excess") for i in range(PILOTS)
        ]
        return float(np.mean([(one.high - one.low) / 2 for one in pilots if one is not None]) / ndtri(0.975))

    design = DistanceDesign.of_pilots(error(0.0), error(0.1), DIMENSION * 0.1**2, PILOT_N)

    return Panel(
        name="frechet-shift",
        title="Fréchet distance: chance that the excess over the floor is seen",
        x_label="shift of each of 16 features, standard deviations",
        n_label="samples",
        limit=0.0,
        design=design,
        truth=lambda effect: DIMENSION * effect**2,
        measurement="frechet_distance_excess",
        check=FrechetDistanceCheck,
        phantom=phantom,
        sizes={
            150: (0.0, 0.1, 0.14, 0.2, 0.26),
            600: (0.0, 0.05, 0.07, 0.1, 0.13),
            2400: (0.0, 0.025, 0.035, 0.05, 0.065),
        },
        span=(0.0, 0.3),
    )


def membership() -> Panel:
    """privacy/membership_loss: losses that are normal with equal spread, so that the AUC is exactly Phi(shift/√2)."""
    from ldm_eval_privacy.membership_loss import MembershipLoss

    return Panel(
        name="membership",
        title="Membership inference: chance that an attack is seen",
        x_label="true AUC of the attack",
        n_label="scored images of each set",
        limit=0.5,
        design=AucDesign(judged=0.5, chosen=True, lost=0.025),
        truth=lambda effect: effect,
        measurement="membership_auc",
        check=MembershipLoss,
        phantom=_losses,
        sizes={
            64: (0.5, 0.6, 0.68, 0.74, 0.82),
            128: (0.5, 0.57, 0.62, 0.67, 0.74),
            256: (0.5, 0.55, 0.59, 0.63, 0.68),
        },
        span=(0.5, 0.9),
    )


def _losses(seed: int, effect: float, n: int) -> Evidence:
    """Images of one law whose losses tell members by a chosen AUC, alike at every noise level."""
    from ldm_eval_privacy.denoising_loss import DENOISING_LOSS, noise_levels

    from ldm_eval.testing.evidence import PhantomEvidence, image_set

    rng = np.random.default_rng([seed, n, 77])
    columns = len(noise_levels(DENOISING_LOSS.parameters))
    shift = float(ndtri(effect)) * np.sqrt(2.0)

    def pixels() -> NDArray[np.uint8]:
        return np.clip(np.rint(127.5 + 32 * rng.normal(size=(n, 1, 6, 6))), 0, 255).astype(np.uint8)

    def scores(mean: float) -> Scores:
        loss = rng.normal(mean, 1.0, size=(n, 1)).astype(np.float32)
        return Scores(np.arange(n), np.repeat(loss, columns, axis=1))

    sets = {"training": pixels(), "holdout": pixels()}
    return PhantomEvidence(
        "privacy/membership_loss",
        seed,
        images={"training": image_set(sets["training"], "training"), "holdout": image_set(sets["holdout"], "holdout")},
        features={
            "training": rng.normal(size=(n, 16)).astype(np.float32),
            "holdout": rng.normal(size=(n, 16)).astype(np.float32),
        },
        scores={DENOISING_LOSS.name: {"training": scores(-shift), "holdout": scores(0.0)}},
    )


def epsilon() -> Panel:
    """privacy/empirical_epsilon: randomised response, which tells as much as an epsilon allows."""
    from ldm_eval_privacy.empirical_epsilon import EmpiricalEpsilon
    from ldm_eval_privacy.epsilon_phantoms import randomised_response

    from ldm_eval.stats.audit import AuditDesign

    return Panel(
        name="epsilon",
        title="Empirical epsilon: chance that some leakage is shown",
        x_label="true epsilon of the mechanism",
        n_label="canaries",
        limit=0.0,
        design=AuditDesign(share=0.3, delta=1e-5),
        truth=lambda effect: effect,
        measurement="empirical_epsilon",
        check=EmpiricalEpsilon,
        phantom=lambda seed, effect, n: randomised_response(seed, effect, n),
        sizes={
            100: (0.0, 0.6, 1.0, 1.4, 2.0),
            400: (0.0, 0.3, 0.5, 0.7, 1.0),
            2000: (0.0, 0.12, 0.22, 0.3, 0.45),
        },
        span=(0.0, 3.0),
    )


PANELS: dict[str, Callable[[], Panel]] = {
    "copies": copies,
    "shares": shares,
    "frechet": frechet,
    "membership": membership,
    "epsilon": epsilon,
}


def draw(panel: Panel, runs: int, folder: Path) -> None:
    """One table on stdout, one figure in ``folder``."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7.2, 4.2), dpi=110, layout="constrained")
    spaced = np.geomspace if panel.log else np.linspace
    effects = spaced(*panel.span, panel.points)
    print(f"\n| {panel.n_label} | {panel.x_label} | formula | runs of the check | 95 % interval | runs |")
    print("|---|---|---|---|---|---|")
    outside = dots = 0
    for colour, (n, marks) in zip(COLOURS, panel.sizes.items(), strict=True):
        axes.plot(effects, [panel.power(float(e), n) for e in effects], color=colour, label=f"{n:,} {panel.n_label}")
        count = runs // panel.cost.get(n, 1)
        for effect in marks:
            first = 10_000 * dots  # no two dots share a draw
            hits = panel.caught(effect, n, range(first, first + count))
            interval, reported = clopper_pearson(hits, count), panel.power(effect, n)
            outside, dots = outside + (not interval.low <= reported <= interval.high), dots + 1
            value = hits / count
            error = [[value - interval.low], [interval.high - value]]
            axes.errorbar([effect], [value], yerr=error, fmt="o", ms=4, color=colour, capsize=2, lw=1)
            print(
                f"| {n:,} | {effect:g} | {reported:.3f} | {value:.3f} | [{interval.low:.3f}, {interval.high:.3f}] "
                f"| {count} |",
                flush=True,
            )
    print(f"\n{panel.name}: the formula lies outside the interval of {outside} of {dots} dots.")
    if panel.log:
        axes.set_xscale("log")
    axes.set(xlabel=panel.x_label, ylabel="chance that the alarm is raised", title=panel.title, ylim=(-0.02, 1.02))
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, loc="lower right" if not panel.log else "upper left")
    figure.savefig(folder / f"power-{panel.name}.png", metadata={"Software": None})


def main() -> None:
    """Draw what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=400)
    parser.add_argument("--only", nargs="*", choices=sorted(PANELS), default=sorted(PANELS))
    parser.add_argument("--out", type=Path, default=Path("docs/checks"))
    given = parser.parse_args()
    for name in given.only:
        draw(PANELS[name](), given.runs, given.out)


if __name__ == "__main__":
    main()
