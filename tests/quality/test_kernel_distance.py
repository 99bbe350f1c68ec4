import numpy as np
import pytest
from ldm_eval_quality.kernel_distance import KernelDistanceCheck
from ldm_eval_quality.phantoms import copier, gaussian
from scipy.special import bdtrc

from ldm_eval.api import Evidence, Invalid, Measurement, NotApplicable, Table
from ldm_eval.testing.evidence import PhantomEvidence

CHECK = "quality/kernel_distance"


def findings(evidence: Evidence) -> tuple[dict[str, Measurement], Table]:
    found = KernelDistanceCheck().run(evidence)
    assert not isinstance(found, NotApplicable | Invalid), found
    (table,) = (one for one in found if isinstance(one, Table))
    return {one.name: one for one in found if isinstance(one, Measurement)}, table


def test_copies_are_closer_to_training() -> None:
    copied, table = findings(copier(0, check=CHECK, copied=1.0))
    assert set(copied) == {"kernel_distance", "kernel_distance_to_training"}
    assert copied["kernel_distance_to_training"].value < 0.0 <= copied["kernel_distance"].interval.high
    assert [row[0] for row in table.rows] == ["samples – reference", "samples – training", "real – real (floor)"]


def test_a_reference_of_repeats_is_told_where_its_distance_stands() -> None:
    base = gaussian(0, check=CHECK, n=200, m=200)
    features = {"samples": base.features("samples"), "reference": np.repeat(base.features("reference"), 2, axis=0)}
    found, _ = findings(PhantomEvidence(CHECK, 0, features=features))  # type: ignore[arg-type]
    assert "200 of the 400 reference images repeat another one" in found["kernel_distance"].note


def test_p_value_tells_a_blurrer_from_another_draw() -> None:
    def p_value(scale: float, seed: int) -> float:
        _, table = findings(gaussian(seed, check=CHECK, n=200, m=400, scale=scale))
        value = table.rows[0][-1]
        assert isinstance(value, float)
        return value

    assert all(p_value(0.5, seed) <= 0.01 for seed in range(3))
    small = sum(p_value(1.0, seed) <= 0.05 for seed in range(20))
    assert bdtrc(small - 1, 20, 0.05) > 1e-3


def test_too_few_images_and_constant_reference_have_no_number() -> None:
    rng = np.random.default_rng(0)
    few, many = (rng.standard_normal((size, 4)).astype(np.float32) for size in (30, 100))
    assert isinstance(
        KernelDistanceCheck().run(PhantomEvidence(CHECK, 0, features={"samples": few, "reference": many})),
        NotApplicable,
    )
    constant = np.zeros((100, 4), dtype=np.float32)
    assert isinstance(
        KernelDistanceCheck().run(PhantomEvidence(CHECK, 0, features={"samples": many, "reference": constant})), Invalid
    )


@pytest.mark.parametrize("n", [50, 60])
def test_smallest_sets_give_finite_intervals(n: int) -> None:
    found, _ = findings(gaussian(0, check=CHECK, dimension=200, n=n, m=50))
    interval = found["kernel_distance"].interval
    assert interval.low < interval.high
