import math

import numpy as np
import pytest
from ldm_eval_quality.diversity_phantoms import variety
from ldm_eval_quality.vendi_score import VendiScoreCheck
from scipy.special import ndtri

from ldm_eval.api import Evidence, Figure, Invalid, Measurement, NotApplicable, Scalar, Table
from ldm_eval.errors import ConfigError, EvidenceError
from ldm_eval.testing.evidence import PhantomEvidence

CHECK = "quality/vendi_score"


def findings(evidence: Evidence) -> tuple[dict[str, Measurement], Table]:
    found = VendiScoreCheck().run(evidence)
    assert not isinstance(found, NotApplicable | Invalid), found
    assert any(isinstance(one, Figure) for one in found)
    (table,) = (one for one in found if isinstance(one, Table))
    return {one.name: one for one in found if isinstance(one, Measurement)}, table


def of_sets(samples: np.ndarray, reference: np.ndarray, **parameters: Scalar) -> PhantomEvidence:
    features = {"samples": samples.astype(np.float32), "reference": reference.astype(np.float32)}
    return PhantomEvidence(CHECK, 0, features=features, parameters=parameters)  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(3))
def test_lost_modes_and_lost_spread_are_seen_and_noise_reads_as_more(seed: int) -> None:
    def ratio(**changed: float) -> Measurement:
        return findings(variety(seed, check=CHECK, **changed))[0]["vendi_score_ratio"]  # type: ignore[arg-type]

    assert ratio(modes_drawn=4).interval.high < 1.0
    assert ratio(modes_drawn=2).value < ratio(modes_drawn=4).value < ratio().value
    assert ratio(scale=0.6).interval.high < 1.0
    assert ratio(scale=1.5).interval.low > 1.0
    assert ratio().direction == "target"


def test_the_order_matters() -> None:
    rng = np.random.default_rng(0)
    rare = np.where(rng.random(200) < 0.9, 0, rng.integers(1, 20, 200))
    samples, reference = np.eye(20)[rare], np.eye(20)[rng.integers(20, size=200)]
    scores = {}
    for order in (0.5, 1, 2, "inf"):
        found, _ = findings(of_sets(samples, reference, order=order))
        scores[order] = found["vendi_score"].value
        assert found["vendi_score"].signature["order"] == {"inf": "infinity"}.get(str(order), str(order))
    shares = np.bincount(rare) / 200
    shares = shares[shares > 0]
    assert scores["inf"] == pytest.approx(1 / shares.max())
    assert scores[2] == pytest.approx(1 / np.sum(shares**2))
    assert scores[1] == pytest.approx(np.exp(-np.sum(shares * np.log(shares))))
    assert scores[0.5] > 2 * scores["inf"]


def test_sets_compare_at_equal_n_whatever_their_sizes() -> None:
    found, table = findings(variety(0, check=CHECK, n=500, m=200))
    assert found["vendi_score"].n == found["vendi_score_ratio"].n == 200
    assert {row[1] for row in table.rows if row[0] in ("samples", "reference")} == {200}
    assert {row[1] for row in table.rows if "part" in str(row[0])} == {100}


def test_companions_stand_in_the_table_and_a_holdout_that_is_the_reference_does_not() -> None:
    _, table = findings(variety(0, check=CHECK, companions=True))
    assert {row[0] for row in table.rows} == {
        "samples",
        "reference",
        "training",
        "part of reference",
        "other part of reference",
    }


@pytest.mark.parametrize("order", [0.5, 1, 2, "inf"])
def test_contributions_are_the_interval(order: float | str) -> None:
    base = variety(1, check=CHECK, n=120, m=200)
    features = {role: base.features(role) for role in ("samples", "reference")}  # type: ignore[arg-type]
    evidence = PhantomEvidence(CHECK, 1, features=features, parameters={"order": order})  # type: ignore[arg-type]
    found, _ = findings(evidence)
    for name, measurement in found.items():
        kept = evidence.kept[name, None]
        for role, values in kept.items():
            assert values.shape == (len(features[role]),)
        used = [values[~np.isnan(values)] for values in kept.values()]
        assert all(len(values) == 120 and abs(values.mean()) < 1e-9 for values in used)
        error = math.sqrt(sum(float(values.var(ddof=1)) / len(values) for values in used))
        reach = math.log(measurement.interval.high / measurement.value) / float(ndtri(0.975))
        assert error == pytest.approx(measurement.value * reach, rel=1e-9)


def test_collapse_is_a_number_and_not_a_failure() -> None:
    reference = np.random.default_rng(0).standard_normal((100, 6)) + 1
    found, _ = findings(of_sets(np.full((60, 6), 0.25), reference))
    assert found["vendi_score"].value == pytest.approx(1.0, abs=1e-6)
    assert found["vendi_score_ratio"].interval.high < 1.0


@pytest.mark.parametrize("n", [50, 61])
def test_smallest_sets_in_wide_spaces_give_finite_intervals(n: int) -> None:
    found, _ = findings(variety(0, check=CHECK, n=n, m=50, dimension=300))
    assert all(one.interval.low < one.value < one.interval.high for one in found.values())


def test_what_cannot_be_measured_says_why() -> None:
    rng = np.random.default_rng(0)
    few, many = rng.standard_normal((30, 4)), rng.standard_normal((100, 4))
    assert isinstance(VendiScoreCheck().run(of_sets(few, many)), NotApplicable)
    assert isinstance(VendiScoreCheck().run(of_sets(many, np.ones((100, 4)))), Invalid)
    empty = many.copy()
    empty[7] = 0.0
    refused = VendiScoreCheck().run(of_sets(empty, many))
    assert isinstance(refused, Invalid)
    assert "1 of 100 feature vectors of the samples set are zero (first: image 7)" in refused.reason
    broken = many.copy()
    broken[3, 1] = np.nan
    with pytest.raises(EvidenceError, match="first: image 3"):
        VendiScoreCheck().run(of_sets(many, broken))
    for order in (3, "two", True, 0):
        with pytest.raises(ConfigError, match="order"):
            VendiScoreCheck().run(of_sets(many, many, order=order))
