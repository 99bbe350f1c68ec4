"""What each image contributes: the variance of the interval, and the paired error of two models on shared seeds.

Both against brute force: the sum over roles of var / n is the squared standard error behind the reported interval, and
over many draws the difference of two models that share noise and reference spreads as the paired error says.
"""

from collections.abc import Callable, Mapping

import numpy as np
import pytest
from ldm_eval_quality.frechet_distance import FrechetDistanceCheck
from ldm_eval_quality.frechet_infinity import FrechetInfinityCheck
from ldm_eval_quality.inception_score import InceptionScoreCheck
from ldm_eval_quality.kernel_distance import KernelDistanceCheck
from ldm_eval_quality.precision_recall import PrecisionRecallCheck
from ldm_eval_quality.reconstruction_distance import ReconstructionDistanceCheck
from ldm_eval_quality.reconstruction_phantom import autoencoder
from numpy.typing import NDArray

from ldm_eval.api import Check, Invalid, Measurement, NotApplicable, Role
from ldm_eval.stats.paired import Contributed, contributed_variance, paired_difference
from ldm_eval.testing.evidence import PhantomEvidence

Array = NDArray[np.float64]
SHARED: tuple[Role, ...] = ("samples", "reference", "training", "holdout")


def measured(check: Check, evidence: PhantomEvidence) -> dict[str, Measurement]:
    found = check.run(evidence)
    assert not isinstance(found, NotApplicable | Invalid), found
    return {one.name: one for one in found if isinstance(one, Measurement)}


def contributed(check: Check, evidence: PhantomEvidence) -> dict[str, Contributed]:
    found = measured(check, evidence)
    return {name: Contributed(one.value, evidence.kept[name, None]) for name, one in found.items()}


def features(check: str, **given: Array) -> PhantomEvidence:
    values: dict[Role, NDArray[np.float32]] = {}
    for role, rows in given.items():
        values[role] = rows.astype(np.float32)  # type: ignore[index]
    return PhantomEvidence(check, 0, features=values)


def error_of(measurement: Measurement) -> float:
    return (measurement.interval.high - measurement.interval.low) / (2 * 1.959964)


def test_frechet_contributions_have_the_variance_of_every_interval() -> None:
    draw = np.random.default_rng(0).standard_normal
    sets = {"samples": 0.5 + 1.2 * draw((300, 8)), "reference": draw((900, 8)), "training": draw((250, 8))}
    evidence = features("quality/frechet_distance", holdout=draw((400, 8)), **sets)
    found = measured(FrechetDistanceCheck(), evidence)
    assert set(found) == {name for name, _ in evidence.kept}
    assert {name.removeprefix("frechet_distance") for name in found} == {
        "",
        "_excess",
        "_matched",
        "_to_training",
        "_to_holdout",
        "_gap",
    }
    for name, one in found.items():
        variance = sum(map(contributed_variance, evidence.kept[name, None].values()))
        assert variance**0.5 == pytest.approx(error_of(one), rel=0.005), name


def test_unused_images_contribute_nothing() -> None:
    draw = np.random.default_rng(1).standard_normal
    evidence = features("quality/frechet_distance", samples=draw((300, 4)), reference=draw((200, 4)))
    measured(FrechetDistanceCheck(), evidence)
    kept = evidence.kept["frechet_distance_excess", None]
    assert np.isnan(kept["samples"]).sum() == 200  # the floor has room for 100
    assert not np.isnan(kept["reference"]).any()
    matched = evidence.kept["frechet_distance_matched", None]
    assert np.isnan(matched["reference"]).sum() == 100


def test_pairs_of_a_reconstruction_contribute_together() -> None:
    evidence = autoencoder(0, shrink=0.8, noise=0.1, levels=3)
    assert isinstance(evidence, PhantomEvidence)
    found = measured(ReconstructionDistanceCheck(), evidence)["rfd"]
    (variance,) = map(contributed_variance, evidence.kept["rfd", None].values())
    assert variance**0.5 == pytest.approx(error_of(found), rel=1e-6)


@pytest.mark.parametrize("name", ["precision", "recall", "density", "coverage"])
def test_manifold_contributions_have_the_reported_standard_error(name: str) -> None:
    from ldm_eval.stats.manifolds import manifold_overlap

    draw = np.random.default_rng(2).standard_normal
    share = getattr(manifold_overlap(draw((400, 6)), 0.3 + 0.9 * draw((400, 6))), name)
    variance = contributed_variance(share.influence_real) + contributed_variance(share.influence_generated)
    assert variance**0.5 == pytest.approx(share.standard_error, rel=0.003)


def logits_of(noise: Array, sharpness: float) -> Array:
    return sharpness * noise


def test_inception_score_contributions_have_the_bootstrap_error() -> None:
    noise = np.random.default_rng(3).standard_normal((2000, 10))
    given = {"samples": logits_of(noise, 1.5).astype(np.float32)}
    evidence = PhantomEvidence("quality/inception_score", 0, logits=given)  # type: ignore[arg-type]
    (found,) = measured(InceptionScoreCheck(), evidence).values()
    (variance,) = map(contributed_variance, evidence.kept[found.name, None].values())
    assert variance**0.5 == pytest.approx(error_of(found), rel=0.15)  # 200 draws, and second-order terms


def spread_and_errors(
    check: Check, make: Callable[[int], tuple[PhantomEvidence, PhantomEvidence]], runs: int
) -> Mapping[str, tuple[float, float, float]]:
    """Measurement -> (true spread of the difference, root mean square paired error, that without pairing)."""
    found: dict[str, list[tuple[float, float, float]]] = {}
    for seed in range(runs):
        one, other = (contributed(check, evidence) for evidence in make(seed))
        for name in one:
            difference = paired_difference(one[name], other[name], SHARED)
            found.setdefault(name, []).append((difference.value, difference.standard_error, difference.unpaired_error))
    table = {name: np.array(rows) for name, rows in found.items()}
    return {
        name: (
            float(rows[:, 0].std(ddof=1)),
            float(np.sqrt(np.mean(rows[:, 1] ** 2))),
            float(np.sqrt(np.mean(rows[:, 2] ** 2))),
        )
        for name, rows in table.items()
    }


def two_models(check: str) -> Callable[[int], tuple[PhantomEvidence, PhantomEvidence]]:
    """Shared seeds: the second model sees the same noise, with a little of its own, and draws a wider law."""

    def make(seed: int) -> tuple[PhantomEvidence, PhantomEvidence]:
        draw = np.random.default_rng((seed, 11)).standard_normal
        noise, reference = draw((200, 6)), draw((400, 6))
        one, other = 0.5 + 1.1 * noise, 0.55 + 1.15 * noise + 0.2 * draw((200, 6))
        return tuple(features(check, samples=rows, reference=reference) for rows in (one, other))  # type: ignore[return-value]

    return make


@pytest.mark.parametrize(
    ("check", "runs", "slack"),
    [
        (FrechetDistanceCheck(), 100, (0.82, 1.22)),
        (FrechetInfinityCheck(), 100, (0.82, 1.22)),
        (KernelDistanceCheck(), 40, (0.75, 1.35)),
    ],
    ids=lambda value: getattr(value, "id", None),
)
def test_two_models_on_shared_seeds_differ_by_what_contributions_say(
    check: Check, runs: int, slack: tuple[float, float]
) -> None:
    for name, (spread, paired, unpaired) in spread_and_errors(check, two_models(check.id), runs).items():
        assert slack[0] < paired / spread < slack[1], name
        assert unpaired > 1.4 * paired, name


def test_manifold_differences_on_shared_seeds_are_no_wider_than_contributions_say() -> None:
    # leaving out a point is counted without the radii that grow: shares err on the wide side
    for name, (spread, paired, unpaired) in spread_and_errors(
        PrecisionRecallCheck(), two_models("quality/precision_recall"), 100
    ).items():
        assert 0.85 < paired / spread < 2.6, name  # 1.8, 1.9, 2.2, 1.5
        assert unpaired > 1.1 * paired, name


def test_inception_scores_on_shared_seeds_differ_by_what_contributions_say() -> None:
    def make(seed: int) -> tuple[PhantomEvidence, PhantomEvidence]:
        noise, own = np.random.default_rng((seed, 12)).standard_normal((2, 400, 10))
        sets = (logits_of(noise, 1.5), logits_of(noise + 0.2 * own, 1.6))
        return tuple(
            PhantomEvidence("quality/inception_score", 0, logits={"samples": rows.astype(np.float32)}) for rows in sets
        )  # type: ignore[return-value]

    ((spread, paired, unpaired),) = spread_and_errors(InceptionScoreCheck(), make, 120).values()
    assert 0.8 < paired / spread < 1.25
    assert unpaired > 2 * paired
