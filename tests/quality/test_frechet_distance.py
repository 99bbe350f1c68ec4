import numpy as np
import pytest
from ldm_eval_quality.frechet_distance import FrechetDistanceCheck
from ldm_eval_quality.phantoms import copier, gaussian
from scipy.special import bdtr

from ldm_eval.api import Evidence, ExtractorInfo, Figure, Finding, Invalid, Measurement, NotApplicable, Role, Table
from ldm_eval.errors import EvidenceError
from ldm_eval.stats.frechet import frechet_distance
from ldm_eval.testing.evidence import PhantomEvidence

CHECK = "quality/frechet_distance"


def measured(evidence: Evidence) -> dict[str, Measurement]:
    found = FrechetDistanceCheck().run(evidence)
    assert not isinstance(found, NotApplicable | Invalid), found
    return {one.name: one for one in found if isinstance(one, Measurement)}


def sets(**features: np.ndarray) -> PhantomEvidence:
    given: dict[Role, np.ndarray] = {role: values.astype(np.float32) for role, values in features.items()}  # type: ignore[misc]
    return PhantomEvidence(CHECK, 0, features=given)


def draw(n: int, seed: int = 0, d: int = 16) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)


def test_headline_is_all_samples_against_the_whole_reference() -> None:
    samples, reference = draw(100, 1), draw(300, 2)
    found = measured(sets(samples=samples, reference=reference))
    assert found["frechet_distance"].value == frechet_distance(samples, reference).value
    assert found["frechet_distance"].n == 100
    assert found["frechet_distance"].signature["against_n"] == 300
    assert found["frechet_distance"].floor is None
    assert set(found) == {"frechet_distance", "frechet_distance_excess", "frechet_distance_matched"}


def test_only_inception_features_give_a_fid(monkeypatch: pytest.MonkeyPatch) -> None:
    info = ExtractorInfo("inception-2015", "1" * 64, 16, 1008, "tf1-bilinear-299", "Apache-2.0")
    monkeypatch.setattr(PhantomEvidence, "extractor", lambda _: info)
    assert set(measured(gaussian(0, check=CHECK))) == {"fid", "fid_excess", "fid_matched"}


@pytest.mark.parametrize(("shift", "scale"), [(0.0, 1.0), (0.3, 1.0), (0.0, 0.7), (0.0, 1.4)])
def test_excess_matches_the_closed_form(shift: float, scale: float) -> None:
    # a blurrer (scale < 1), a noisy model (scale > 1) and a shifted one, at d = 8 and n where the bias is small
    truth = 8 * (shift**2 + (scale - 1) ** 2)
    runs = [
        measured(gaussian(seed, check=CHECK, dimension=8, n=1000, m=2000, shift=shift, scale=scale))
        for seed in range(20)
    ]
    held = sum(
        run["frechet_distance_excess"].interval.low <= truth <= run["frechet_distance_excess"].interval.high
        for run in runs
    )
    assert bdtr(held, 20, 0.95) > 1e-3


def test_floor_is_the_distance_of_real_images_to_real_images() -> None:
    runs = [measured(gaussian(seed, check=CHECK, n=200, m=1000)) for seed in range(10)]
    floors = [run["frechet_distance_matched"].floor for run in runs]
    values = [run["frechet_distance_matched"].value for run in runs]
    assert np.mean(floors) == pytest.approx(np.mean(values), rel=0.1)
    excess = [run["frechet_distance_excess"].value for run in runs]
    assert np.allclose(np.subtract(values, np.array(floors, dtype=float)), excess)


def test_excess_of_a_good_model_is_zero_where_the_distance_is_all_bias() -> None:
    # d = 40 and n = 50: the distance itself is far from its limit 0
    runs = [measured(gaussian(seed, check=CHECK, dimension=40, n=50, m=100)) for seed in range(20)]
    assert min(run["frechet_distance"].interval.low for run in runs) > 5.0
    held = sum(
        run["frechet_distance_excess"].interval.low <= 0.0 <= run["frechet_distance_excess"].interval.high
        for run in runs
    )
    assert bdtr(held, 20, 0.95) > 1e-3
    assert "compare at equal n only" in runs[0]["frechet_distance"].note


def test_copies_are_closer_to_training_than_to_holdout() -> None:
    copied = [measured(copier(seed, check=CHECK, copied=1.0)) for seed in range(20)]
    honest = [measured(copier(seed, check=CHECK, copied=0.0)) for seed in range(20)]
    assert all(run["frechet_distance_gap"].interval.low > 0 for run in copied)
    assert sum(run["frechet_distance_gap"].interval.low > 0 for run in honest) <= 4
    assert copied[0]["frechet_distance_to_training"].value < 0.5 * copied[0]["frechet_distance"].value


def test_a_reference_of_repeats_is_told_where_its_excess_stands() -> None:
    once, samples = draw(200, 1, d=64), draw(200, 2, d=64)
    excess = measured(sets(samples=samples, reference=np.repeat(once, 2, axis=0)))["frechet_distance_excess"]
    assert excess.interval.low > 0  # a perfect model, but real images meet their own repeats
    assert "200 of the 400 reference images repeat another one" in excess.note
    assert "repeat" not in measured(sets(samples=samples, reference=once))["frechet_distance_excess"].note


def test_the_gap_is_not_sold_as_proof_of_copies_because_a_fitted_gaussian_has_one_too() -> None:
    training, holdout = draw(400, 1), draw(400, 2)
    rng = np.random.default_rng(3)
    drawn = rng.multivariate_normal(training.mean(axis=0), np.cov(training.T), 300, method="cholesky")
    gap = measured(sets(samples=drawn, training=training, holdout=holdout, reference=holdout))["frechet_distance_gap"]
    assert gap.interval.low > 0
    assert "copies none" in gap.note


def test_holdout_that_is_the_reference_is_reported_once() -> None:
    evidence = copier(0, check=CHECK, copied=0.5)
    found = FrechetDistanceCheck().run(evidence)
    assert not isinstance(found, NotApplicable | Invalid)
    names = {one.name for one in found}
    assert "frechet_distance_to_training" in names
    assert "frechet_distance_to_holdout" not in names
    (table,) = (one for one in found if isinstance(one, Table))
    assert table.rows[0][0] == "samples – reference (= holdout)"
    (figure,) = (one for one in found if isinstance(one, Figure))
    assert figure.kind == "intervals"
    (series,) = figure.series
    assert len(series.x) == len(table.rows)
    assert str(series.x[-1]).startswith("real – real (floor), ")


def test_companions_are_compared_at_equal_sizes() -> None:
    evidence = sets(samples=draw(100, 1), reference=draw(200, 2), training=draw(500, 3), holdout=draw(150, 4))
    found = measured(evidence)
    sizes = {found[f"frechet_distance_to_{role}"].signature["real_n"] for role in ("training", "holdout")}
    assert sizes == {150}


def test_companions_of_a_few_images_are_left_out() -> None:
    evidence = sets(samples=draw(100, 1), reference=draw(200, 2), training=draw(20, 3), holdout=draw(150, 4))
    assert "frechet_distance_to_training" not in measured(evidence)


@pytest.mark.parametrize(("n", "m", "what"), [(20, 200, "samples"), (200, 20, "reference")])
def test_too_few_images_is_not_applicable(n: int, m: int, what: str) -> None:
    found = FrechetDistanceCheck().run(sets(samples=draw(n), reference=draw(m, 1)))
    assert isinstance(found, NotApplicable)
    assert what in found.reason


def test_constant_reference_is_invalid() -> None:
    found = FrechetDistanceCheck().run(sets(samples=draw(100), reference=np.ones((100, 16))))
    assert isinstance(found, Invalid)


def test_collapsed_model_is_measured_not_refused() -> None:
    found = measured(sets(samples=np.ones((100, 16)), reference=draw(200)))
    assert found["frechet_distance"].value > 20.0


def test_features_that_are_not_finite_are_an_error_that_names_the_image() -> None:
    samples = draw(100)
    samples[7, 3] = np.nan
    with pytest.raises(EvidenceError, match="first: image 7"):
        FrechetDistanceCheck().run(sets(samples=samples, reference=draw(100, 1)))


def test_same_evidence_same_findings() -> None:
    def run() -> list[Finding]:
        found = FrechetDistanceCheck().run(copier(3, check=CHECK, copied=0.2))
        assert not isinstance(found, NotApplicable | Invalid)
        return list(found)

    assert run() == run()
