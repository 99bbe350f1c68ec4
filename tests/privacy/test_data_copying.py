import numpy as np
import pytest
import torch
from ldm_eval_privacy.data_copying import DataCopying
from ldm_eval_privacy.feature_phantoms import feature_copier, mode_shrinker
from scipy.stats import binom

from ldm_eval.api import ExtractorInfo, Measurement, NotApplicable
from ldm_eval.errors import ConfigError
from ldm_eval.testing.evidence import PhantomEvidence

CHECK = "privacy/data_copying"


def run(evidence):
    return DataCopying().run(evidence)


def named(findings):
    assert isinstance(findings, list), findings
    return {one.name: one for one in findings if isinstance(one, Measurement)}


def test_none_of_them_has_a_better_direction():
    found = named(run(feature_copier(0, check=CHECK)))
    assert set(found) == {"c_t", "authenticity", "memorisation_distance", "mi_frechet_distance"}
    assert {one.direction for one in found.values()} == {"none"}


def test_c_t_sees_many_copies_and_no_fresh_images():
    alarm = DataCopying.phantoms.alarm
    assert all(alarm.raised_by(named(run(feature_copier(seed, copy_rate=0.4)))["c_t"]) for seed in range(8))
    seeds = 40
    alarms = sum(alarm.raised_by(named(run(feature_copier(seed, copy_rate=0.0)))["c_t"]) for seed in range(seeds))
    assert alarms <= binom.ppf(0.999, seeds, 0.025)


def test_holdout_images_that_are_training_images_are_not_fresh_ones():
    rng = np.random.default_rng(0)
    rows = {role: rng.normal(size=(200, 8)).astype(np.float32) for role in ("samples", "training", "holdout")}
    clean = named(run(PhantomEvidence(CHECK, 0, features=rows)))["c_t"]
    shared = rows | {"holdout": np.concatenate([rows["training"][:100], rows["holdout"]])}
    found = named(run(PhantomEvidence(CHECK, 0, features=shared)))["c_t"]
    assert found.value == clean.value
    assert "100 holdout images have the features of a training image" in found.note
    assert "c_t" not in named(run(PhantomEvidence(CHECK, 0, features=rows | {"holdout": rows["training"]})))


def test_known_failure_c_t_is_silent_at_one_copy_in_a_hundred():
    seeds = 20
    alarms = sum(named(run(feature_copier(seed, copy_rate=0.01)))["c_t"].interval.high < 0 for seed in range(seeds))
    assert alarms <= 4


def test_known_failure_c_t_is_alarmed_by_a_model_that_shows_too_little_variety_and_copies_nobody():
    assert all(named(run(mode_shrinker(seed)))["c_t"].interval.high < 0 for seed in range(8))


def test_known_failure_near_copies_of_a_duplicated_image_are_authentic():
    once = named(run(feature_copier(0, copy_rate=1.0, grain=1.0)))["authenticity"]
    often = named(run(feature_copier(0, copy_rate=1.0, grain=1.0, repeated=100)))["authenticity"]
    assert once.interval.high < 0.05
    assert often.value == 1.0


def test_mifid_is_that_of_torchmetrics_with_samples_and_training_in_the_order_of_the_paper():
    from torchmetrics.image.mifid import _mifid_compute

    rng = np.random.default_rng(0)
    training = np.abs(rng.normal(size=(300, 8))).astype(np.float32)
    samples = (training[:200] + 0.02 * np.abs(rng.normal(size=(200, 8)))).astype(np.float32)
    info = ExtractorInfo("inception-2015", "1" * 64, 8, None, "none", "Apache-2.0")
    evidence = PhantomEvidence(CHECK, 0, features={"samples": samples, "training": training}, extractor=info)
    found = named(run(evidence))["mifid"]
    one, other = (torch.from_numpy(rows).double() for rows in (samples, training))
    # It averages over its first set; the paper averages over the samples, so they are given first.
    theirs = _mifid_compute(one.mean(0), torch.cov(one.T), one, other.mean(0), torch.cov(other.T), other, 0.1)
    assert found.value == pytest.approx(float(theirs), rel=1e-3)
    assert found.interval.low < found.value < found.interval.high


def test_above_the_threshold_it_is_the_frechet_distance_itself():
    from ldm_eval.stats.frechet import frechet_distance

    evidence = mode_shrinker(0)
    found = named(run(evidence))
    assert found["memorisation_distance"].value > 0.1
    plain = frechet_distance(evidence.features("samples"), evidence.features("training"))
    assert found["mi_frechet_distance"].value == pytest.approx(plain.value)
    assert found["mi_frechet_distance"].interval.high == pytest.approx(plain.interval.high, rel=0.01)


def test_pure_replay_has_no_quotient():
    rng = np.random.default_rng(0)
    training = rng.normal(size=(100, 8)).astype(np.float32)
    found = named(run(PhantomEvidence(CHECK, 0, features={"samples": training[:60], "training": training})))
    assert found["memorisation_distance"].value == 0
    assert set(found) == {"authenticity", "memorisation_distance"}


def test_the_error_of_the_quotient_holds_over_repetitions():
    values, errors = [], []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        features = {role: (3 + rng.normal(size=(200, 6))).astype(np.float32) for role in ("samples", "training")}
        features["samples"][:, 0] += 1.5
        one = named(run(PhantomEvidence(CHECK, seed, features=features)))["mi_frechet_distance"]
        values.append(one.value)
        errors.append((one.interval.high - one.value) / 1.96)
    assert 0.7 < np.mean(errors) / np.std(values, ddof=1) < 1.5


def test_without_a_holdout_there_is_no_c_t():
    assert "c_t" not in named(run(feature_copier(0, holdout=0)))


def test_few_training_images_are_not_applicable():
    outcome = run(feature_copier(0, training=30))
    assert isinstance(outcome, NotApplicable)
    assert "there are 30" in outcome.reason


def test_settings_it_does_not_have_are_refused():
    base = feature_copier(0)
    base.parameters = {"cell": 3.0}
    with pytest.raises(ConfigError, match="Did you mean 'cells'"):
        run(base)
