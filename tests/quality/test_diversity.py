import math

import numpy as np
import pytest
from ldm_eval_quality import diversity
from ldm_eval_quality.diversity import FeatureDiversityCheck
from ldm_eval_quality.diversity_phantoms import variety
from scipy.spatial.distance import pdist

from ldm_eval.api import Evidence, Figure, Invalid, Measurement, NotApplicable, Table
from ldm_eval.testing.evidence import PhantomEvidence

CHECK = "quality/feature_diversity"


def findings(evidence: Evidence) -> tuple[dict[str, Measurement], Table]:
    found = FeatureDiversityCheck().run(evidence)
    assert not isinstance(found, NotApplicable | Invalid), found
    assert any(isinstance(one, Figure) for one in found)
    (table,) = (one for one in found if isinstance(one, Table))
    return {one.name: one for one in found if isinstance(one, Measurement)}, table


def of_sets(samples: np.ndarray, reference: np.ndarray) -> PhantomEvidence:
    features = {"samples": samples.astype(np.float32), "reference": reference.astype(np.float32)}
    return PhantomEvidence(CHECK, 0, features=features)  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(3))
def test_lost_modes_and_lost_spread_are_seen_and_noise_reads_as_more(seed: int) -> None:
    def ratio(**changed: float) -> Measurement:
        return findings(variety(seed, check=CHECK, **changed))[0]["feature_diversity_ratio"]  # type: ignore[arg-type]

    assert ratio(modes_drawn=2).interval.high < 1.0
    assert ratio(modes_drawn=1).value < ratio(modes_drawn=2).value < ratio().value
    assert ratio(scale=0.8).interval.high < 1.0
    assert ratio(scale=1.2).interval.low > 1.0


def test_a_blurrer_by_half_halves_the_distance() -> None:
    found, _ = findings(variety(0, check=CHECK, scale=0.5, n=2000, m=2000))
    ratio = found["feature_diversity_ratio"]
    assert ratio.interval.low < 0.5 < ratio.interval.high
    assert ratio.floor == pytest.approx(1.0, abs=0.02)


def test_numbers_are_those_of_all_pairs_and_companions_stand_in_the_table() -> None:
    evidence = variety(0, check=CHECK, companions=True)
    found, table = findings(evidence)
    real = pdist(evidence.features("reference").astype(np.float64)).mean()
    mine = pdist(evidence.features("samples").astype(np.float64)).mean()
    assert found["feature_diversity"].value == pytest.approx(mine)
    assert found["feature_diversity"].floor == pytest.approx(real)
    assert found["feature_diversity_ratio"].value == pytest.approx(mine / real)
    assert [row[:2] for row in table.rows] == [("samples", 300), ("reference", 600), ("training", 600)]


def test_contributions_are_the_interval_and_name_the_images_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diversity, "_MOST", 200)
    evidence = variety(0, check=CHECK)
    found, _ = findings(evidence)
    assert isinstance(evidence, PhantomEvidence)
    for name, measurement in found.items():
        kept = evidence.kept[name, None]
        used = [values[~np.isnan(values)] for values in kept.values()]
        assert all(len(values) == 200 and abs(values.mean()) < 1e-9 for values in used)
        error = math.sqrt(sum(float(values.var(ddof=1)) / len(values) for values in used))
        assert measurement.interval.high - measurement.value == pytest.approx(1.959964 * error, rel=1e-5)
        assert measurement.n == 200


def test_collapse_is_a_number_and_not_a_failure() -> None:
    reference = np.random.default_rng(0).standard_normal((100, 6))
    found, _ = findings(of_sets(np.full((60, 6), 0.25), reference))
    ratio = found["feature_diversity_ratio"]
    assert (ratio.value, ratio.interval.low, ratio.interval.high) == (0.0, 0.0, 0.0)


def test_a_reference_of_repeats_is_told_where_its_ratio_stands() -> None:
    base = variety(0, check=CHECK)
    doubled = np.repeat(base.features("reference")[:200], 2, axis=0)
    found, _ = findings(of_sets(base.features("samples"), doubled))
    assert "200 of the 400 reference images repeat another one" in found["feature_diversity_ratio"].note


def test_what_cannot_be_measured_says_why() -> None:
    rng = np.random.default_rng(0)
    few, many = rng.standard_normal((30, 4)), rng.standard_normal((100, 4))
    assert isinstance(FeatureDiversityCheck().run(of_sets(few, many)), NotApplicable)
    assert isinstance(FeatureDiversityCheck().run(of_sets(many, few)), NotApplicable)
    assert isinstance(FeatureDiversityCheck().run(of_sets(many, np.ones((100, 4)))), Invalid)
