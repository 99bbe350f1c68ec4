import math

import numpy as np
import pytest
from ldm_eval_quality.diversity_phantoms import variety
from ldm_eval_quality.mind import MindCheck
from ldm_eval_quality.phantoms import copier, gaussian

from ldm_eval.api import Evidence, ExtractorInfo, Figure, Invalid, Measurement, NotApplicable, Scalar, Table
from ldm_eval.errors import ConfigError
from ldm_eval.testing.evidence import PhantomEvidence

CHECK = "quality/mind"


def findings(evidence: Evidence) -> tuple[dict[str, Measurement], Table]:
    found = MindCheck().run(evidence)
    assert not isinstance(found, NotApplicable | Invalid), found
    assert any(isinstance(one, Figure) for one in found)
    (table,) = (one for one in found if isinstance(one, Table))
    return {one.name: one for one in found if isinstance(one, Measurement)}, table


def of_sets(samples: np.ndarray, reference: np.ndarray, **parameters: Scalar) -> PhantomEvidence:
    features = {"samples": samples.astype(np.float32), "reference": reference.astype(np.float32)}
    return PhantomEvidence(CHECK, 0, features=features, parameters=parameters)  # type: ignore[arg-type]


def test_only_the_inception_of_2015_gives_the_published_name() -> None:
    base = gaussian(0, check=CHECK, n=60, m=120)
    features = {role: base.features(role) for role in ("samples", "reference")}  # type: ignore[arg-type]
    info = ExtractorInfo("inception-2015", "0" * 64, 16, None, "tf1", "Apache-2.0")
    named, _ = findings(PhantomEvidence(CHECK, 0, features=features, extractor=info))  # type: ignore[arg-type]
    assert set(named) == {"mind", "mind_excess", "mind_matched"}
    other, _ = findings(base)
    assert set(other) == {"sliced_distance", "sliced_distance_excess", "sliced_distance_matched"}
    assert other["sliced_distance"].value == named["mind"].value


@pytest.mark.parametrize("seed", range(3))
def test_shift_lost_spread_and_lost_modes_are_seen(seed: int) -> None:
    def excess(evidence: Evidence) -> Measurement:
        return findings(evidence)[0]["sliced_distance_excess"]

    assert excess(gaussian(seed, check=CHECK, n=200, m=400, scale=0.7)).interval.low > 0.0
    assert excess(variety(seed, check=CHECK, modes_drawn=6)).interval.low > 0.0
    small, large = (excess(gaussian(seed, check=CHECK, n=200, m=400, shift=shift)) for shift in (0.3, 0.6))
    assert 0.0 < small.value < large.value


def test_the_floor_stands_beside_the_distance_of_its_size() -> None:
    found, table = findings(gaussian(0, check=CHECK, n=200, m=300))
    assert found["sliced_distance"].n == 200
    assert found["sliced_distance"].floor is None
    matched, excess = found["sliced_distance_matched"], found["sliced_distance_excess"]
    assert matched.n == excess.n == 150
    assert matched.floor is not None
    assert excess.value == pytest.approx(matched.value - matched.floor)
    assert [row[:2] for row in table.rows] == [
        ("samples – reference", 200),
        ("samples – part of reference", 150),
        ("real – real (floor)", 150),
    ]


def test_copies_are_closer_to_training() -> None:
    copied, table = findings(copier(0, check=CHECK, copied=1.0))
    gap = copied["sliced_distance_gap"]
    assert gap.interval.low > 0.0
    assert copied["sliced_distance_to_training"].value < copied["sliced_distance"].value
    assert copied["sliced_distance_to_training"].direction == "none"
    assert "sliced_distance_to_holdout" not in copied
    assert table.rows[0][0] == "samples – reference (= holdout)"
    honest = [findings(copier(seed, check=CHECK, copied=0.0))[0]["sliced_distance_gap"] for seed in range(5)]
    assert all(one.interval.low < 0.0 for one in honest)


def test_contributions_are_the_part_of_the_error_that_images_make() -> None:
    evidence = gaussian(0, check=CHECK, n=150, m=400, shift=0.3)
    found, _ = findings(evidence)
    assert isinstance(evidence, PhantomEvidence)
    for name in ("sliced_distance", "sliced_distance_excess"):
        kept = evidence.kept[name, None]
        assert [values.shape for values in kept.values()] == [(150,), (400,)]
        used = [values[~np.isnan(values)] for values in kept.values()]
        assert all(abs(values.mean()) < 1e-9 for values in used)
        of_images = sum(float(values.var(ddof=1)) / len(values) for values in used)
        interval = found[name].interval
        whole = ((interval.high - found[name].value) / 1.959964) ** 2
        # the rest is that of the directions; for the excess the two parts of the reference are pooled
        assert 0.7 * whole < of_images < 1.01 * whole


def test_more_directions_narrow_the_interval_and_enter_the_signature() -> None:
    rng = np.random.default_rng(0)
    reference = rng.standard_normal((200, 30))
    samples = rng.standard_normal((100, 30)) + np.eye(1, 30)  # one direction of thirty is shifted
    widths = []
    for count in (10, 1000):
        found, _ = findings(of_sets(samples, reference, directions=count))
        one = found["sliced_distance"]
        widths.append(one.interval.high - one.interval.low)
        assert one.signature["directions"] == count
    assert widths[1] < widths[0]


def test_collapse_and_the_smallest_wide_sets_give_finite_numbers() -> None:
    reference = np.random.default_rng(0).standard_normal((100, 300))
    for samples in (np.full((50, 300), 0.5), reference[:50] + 0.1):
        found, table = findings(of_sets(samples, reference))
        assert all(math.isfinite(one.value) and one.interval.low <= one.value for one in found.values())
        assert all(math.isfinite(cell) for row in table.rows for cell in row if isinstance(cell, float))


def test_what_cannot_be_measured_says_why() -> None:
    rng = np.random.default_rng(0)
    few, many = rng.standard_normal((30, 4)), rng.standard_normal((100, 4))
    assert isinstance(MindCheck().run(of_sets(few, many)), NotApplicable)
    assert isinstance(MindCheck().run(of_sets(many, np.ones((100, 4)))), Invalid)
    for count in (3, 2.5, True, "many"):
        with pytest.raises(ConfigError, match="directions"):
            MindCheck().run(of_sets(many, many, directions=count))
