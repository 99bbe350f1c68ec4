from dataclasses import replace

import numpy as np
import pytest
from ldm_eval_privacy.data_phantoms import as_jpeg
from ldm_eval_privacy.group_exposure import GroupExposure
from ldm_eval_privacy.group_phantoms import exposed_group
from scipy.stats import binom, norm

from ldm_eval.api import Invalid, Measurement, NotApplicable
from ldm_eval.errors import ConfigError
from ldm_eval.testing.evidence import image_set

ALARM = GroupExposure.phantoms.alarm


def run(evidence):
    return GroupExposure().run(evidence)


def named(findings):
    assert isinstance(findings, list), findings
    return {(one.name, one.group): one for one in findings if isinstance(one, Measurement)}


def measured(seeds, **parameters):
    found = [run(exposed_group(seed, **parameters)) for seed in range(seeds)]
    kept = [named(one) for one in found if not isinstance(one, Invalid)]
    assert len(kept) >= binom.ppf(0.001, seeds, 0.975)
    return kept


def regrouped(evidence, change):
    for role in ("training", "holdout"):
        images = evidence.images(role)
        evidence._images[role] = replace(images, groups=change(role, images.groups))
    return evidence


def test_a_group_whose_members_show_is_caught_and_its_gap_covered():
    truth = norm.cdf(2 / np.sqrt(2)) - 0.5
    assert GroupExposure.phantoms.catches.truth == pytest.approx(truth, abs=1e-6)
    found = measured(30)
    gaps = [one["exposure_gap", None] for one in found]
    assert all(map(ALARM.raised_by, gaps))
    assert sum(one.interval.low <= truth <= one.interval.high for one in gaps) >= binom.ppf(0.001, len(gaps), 0.95)
    assert "'glasses: yes'" in gaps[0].note
    exposed = [one["exposure_auc", "glasses: yes"].value for one in found]
    assert np.mean(exposed) == pytest.approx(norm.cdf(2 / np.sqrt(2)), abs=0.02)


def test_the_smallest_gap_that_would_have_been_seen_is_seen():
    said = named(run(exposed_group(1, shift=0.0)))["exposure_gap", None].note
    least = float(said.split("(with probability 0.95) is ")[1].split()[0].rstrip("."))
    shift = np.sqrt(2) * norm.ppf(0.5 + least)
    gaps = [one["exposure_gap", None] for one in measured(30, shift=float(shift))]
    assert sum(map(ALARM.raised_by, gaps)) >= binom.ppf(0.001, len(gaps), 0.95)


@pytest.mark.parametrize("shift", [0.0, 1.0])
def test_a_leak_that_is_equal_in_all_groups_is_left_alone(shift):
    found = measured(100, shift=shift, other_shift=shift)
    alarms = sum(ALARM.raised_by(one["exposure_gap", None]) for one in found)
    assert alarms <= binom.ppf(0.999, len(found), 0.05)


def test_members_and_others_of_two_codecs_are_invalid():
    given = exposed_group(0)
    holdout = given.images("holdout")
    given._images["holdout"] = replace(image_set(as_jpeg(holdout.pixels, 75), "holdout"), groups=holdout.groups)
    assert isinstance(run(given), Invalid)


def test_groups_that_one_set_lacks_or_that_are_small_are_left_out():
    def change(role, groups):
        rare = groups["glasses"].copy()
        rare[:30] = "rare"
        return {"side": rare, **({"other": rare} if role == "training" else {})}

    found = named(run(regrouped(exposed_group(1), change)))
    assert {group for _, group in found} == {None, "side: no", "side: yes"}


def test_without_groups_in_both_sets_it_does_not_apply():
    none = run(regrouped(exposed_group(0), lambda role, groups: groups if role == "training" else {}))
    assert isinstance(none, NotApplicable)
    assert "No attribute" in none.reason
    one = run(regrouped(exposed_group(0), lambda role, groups: {"side": np.array(["a"] * 256)}))
    assert isinstance(one, NotApplicable)
    assert "20 judged" in one.reason


def test_unknown_settings_are_refused():
    given = exposed_group(0)
    given.parameters = {"grey_level": 3.0}
    with pytest.raises(ConfigError, match="grey_level"):
        run(given)
