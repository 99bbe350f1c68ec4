import numpy as np
import pytest
from ldm_eval_quality.phantoms import modes
from ldm_eval_quality.precision_recall import PrecisionRecallCheck

from ldm_eval.api import Evidence, Invalid, Measurement, NotApplicable, Scalar, Table
from ldm_eval.errors import ConfigError
from ldm_eval.testing.evidence import PhantomEvidence

CHECK = "quality/precision_recall"


def measured(evidence: Evidence) -> dict[str, Measurement]:
    found = PrecisionRecallCheck().run(evidence)
    assert not isinstance(found, NotApplicable | Invalid), found
    return {one.name: one for one in found if isinstance(one, Measurement)}


def with_parameters(n: int, m: int, **parameters: Scalar) -> PhantomEvidence:
    rng = np.random.default_rng(0)
    samples, reference = (rng.standard_normal((size, 6)).astype(np.float32) for size in (n, m))
    return PhantomEvidence(CHECK, 0, features={"samples": samples, "reference": reference}, parameters=parameters)


@pytest.mark.parametrize("seed", range(5))
def test_recall_is_low_and_precision_is_not_when_modes_are_dropped(seed: int) -> None:
    full, dropped = measured(modes(seed, modes_drawn=8)), measured(modes(seed, modes_drawn=2))
    assert dropped["recall"].interval.high < 0.5 < full["recall"].interval.low
    assert dropped["precision"].value > full["precision"].value - 0.05
    assert dropped["coverage"].interval.high < full["coverage"].interval.low


@pytest.mark.parametrize("seed", range(5))
def test_precision_is_low_and_recall_is_not_when_samples_are_noisy(seed: int) -> None:
    clean, noisy = measured(modes(seed, modes_drawn=8)), measured(modes(seed, modes_drawn=8, noise=2.5))
    assert noisy["precision"].interval.high < clean["precision"].interval.low
    assert noisy["recall"].value > clean["recall"].value - 0.05
    assert noisy["density"].interval.high < clean["density"].interval.low


def test_real_against_real_is_printed_beside_each() -> None:
    found = measured(modes(0, modes_drawn=8, n=300, m=600))
    assert set(found) == {"precision", "recall", "density", "coverage"}
    for one in found.values():
        assert one.floor == pytest.approx(one.value, abs=0.1)


def test_real_against_real_is_at_the_samples_own_n_where_training_and_holdout_are_there() -> None:
    rng = np.random.default_rng(1)
    samples, holdout, training = (rng.standard_normal((200, 6)).astype(np.float32) for _ in range(3))
    features = {"samples": samples, "reference": holdout, "holdout": holdout, "training": training}
    found = measured(PhantomEvidence(CHECK, 0, features=features))
    assert "200 of each" in found["recall"].note
    alone = measured(PhantomEvidence(CHECK, 0, features={"samples": samples, "reference": holdout}))
    assert "100 of each" in alone["recall"].note
    assert "compare roughly" in alone["recall"].note


def test_sets_of_unequal_size_are_compared_at_equal_n() -> None:
    found = measured(with_parameters(300, 120))
    assert found["recall"].n == 120
    assert found["recall"].signature["real_n"] == 120


def test_k_is_a_setting_and_enters_the_signature() -> None:
    assert measured(with_parameters(100, 100))["recall"].signature["k"] == 5
    adm = measured(with_parameters(100, 100, k=3))
    assert set(adm) == {"precision_k3", "recall_k3", "density_k3", "coverage_k3"}
    assert adm["recall_k3"].signature["k"] == 3


@pytest.mark.parametrize("k", [0, 2.5, "five", True, 40])
def test_k_that_cannot_be_used_is_refused(k: Scalar) -> None:
    with pytest.raises(ConfigError, match="whole number"):
        PrecisionRecallCheck().run(with_parameters(100, 100, k=k))


def test_too_few_images_is_not_applicable() -> None:
    assert isinstance(PrecisionRecallCheck().run(with_parameters(30, 100)), NotApplicable)


def test_repeats_in_the_reference_are_said_beside_the_table() -> None:
    rng = np.random.default_rng(3)
    samples, once = (rng.standard_normal((100, 6)).astype(np.float32) for _ in range(2))
    features = {"samples": samples, "reference": np.concatenate([once, once[:20]])}
    found = PrecisionRecallCheck().run(PhantomEvidence(CHECK, 0, features=features))
    assert not isinstance(found, NotApplicable | Invalid)
    (table,) = (one for one in found if isinstance(one, Table))
    assert "20 of the 120 reference images repeat another one" in table.note
