import csv
import io

import numpy as np
import pytest
from ldm_eval_privacy.near_copies import NearCopies
from ldm_eval_privacy.phantoms import copier, smooth_images
from PIL import Image
from scipy.stats import binom

from ldm_eval.api import Figure, Invalid, Measurement, NotApplicable, Table
from ldm_eval.errors import ConfigError
from ldm_eval.testing.evidence import PhantomEvidence, image_set


def run(evidence):
    return NearCopies().run(evidence)


def named(findings):
    assert isinstance(findings, list), findings
    return {one.name: one for one in findings if isinstance(one, Measurement)}


def counts(findings):
    return dict(next(one for one in findings if isinstance(one, Table)).rows)


def evidence(samples, training, holdout=None, **more):
    sets = {"samples": image_set(samples, "samples"), "training": image_set(training, "training")}
    if holdout is not None:
        sets["holdout"] = image_set(holdout, "holdout")
    return PhantomEvidence("privacy/near_copies", 0, images=sets, **more)


@pytest.mark.parametrize("rate", [0.001, 0.01, 0.1])
def test_the_true_copy_rate_lies_in_the_interval(rate):
    seeds, covered, excess = 20, 0, 0
    for seed in range(seeds):
        found = named(run(copier(seed, copy_rate=rate, samples=500, training=200, holdout=200)))
        near, over = found["near_copy_rate"].interval, found["near_copy_excess"].interval
        covered += near.low <= rate <= near.high
        excess += over.low <= rate <= over.high
    assert min(covered, excess) >= binom.ppf(0.001, seeds, 0.95)


def test_one_copy_in_ten_raises_the_alarm_and_none_does_not():
    alarm = NearCopies.phantoms.alarm
    assert all(alarm.raised_by(named(run(copier(seed)))["near_copy_excess"]) for seed in range(10))
    quiet = [named(run(copier(seed, copy_rate=0.0))) for seed in range(10)]
    assert not any(alarm.raised_by(found["near_copy_excess"]) for found in quiet)
    assert all(found["exact_copy_rate"].value == 0 for found in quiet)


def test_where_honest_images_resemble_training_images_the_excess_is_not_alarmed():
    seeds, alarms, rates = 60, 0, []
    for seed in range(seeds):
        found = named(run(copier(seed, copy_rate=0.0, latent=8, samples=300, training=300, holdout=300)))
        alarms += found["near_copy_excess"].interval.low > 0
        rates.append(found["near_copy_false_positive_rate"].value)
    assert np.mean(rates) > 0.08  # the rule on its own would accuse an honest model
    assert alarms <= binom.ppf(0.999, seeds, 0.025)


def test_a_holdout_that_holds_each_image_ten_times_accuses_nobody_and_counts_each_once():
    seeds, alarms = 40, 0
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        samples, training, fresh = np.split(smooth_images(rng, 440, latent=6), [200, 400])
        findings = run(evidence(samples, training, np.repeat(fresh, 10, axis=0)))
        found = named(findings)
        alarms += found["near_copy_excess"].interval.low > 0
        assert found["near_copy_false_positive_rate"].n == counts(findings)["different holdout images"] <= 40
    assert alarms <= binom.ppf(0.999, seeds, 0.025)


def test_copies_cannot_hide_behind_samples_that_are_farther_away_than_real_images():
    """Fresh samples of another law are never near, so the published rule flags fewer samples than holdout images."""
    rng = np.random.default_rng(0)
    training, holdout = smooth_images(rng, 300, latent=6), smooth_images(rng, 400, latent=6)
    samples = smooth_images(rng, 400, latent=24)
    noisy = training[:30] + 8 * rng.normal(size=training[:30].shape)  # beyond the exact rule
    samples[:30] = np.clip(np.rint(noisy), 0, 255).astype(np.uint8)
    found = named(run(evidence(samples, training, holdout)))
    assert found["exact_copy_rate"].value == 0
    assert found["near_copy_rate"].value < found["near_copy_false_positive_rate"].value
    assert found["near_copy_excess"].interval.low > 0
    assert 0.03 < found["near_copy_excess"].value <= 0.075


def test_a_holdout_that_is_training_in_part_is_no_control_and_the_reason_says_so():
    training = smooth_images(np.random.default_rng(0), 120)
    fresh = smooth_images(np.random.default_rng(1), 60)
    outcome = run(evidence(fresh, training, np.concatenate([training[:30], fresh])))
    assert isinstance(outcome, Invalid)
    assert outcome.reason.startswith("30 of 90 different holdout images are (nearly) training images; a set that")


def test_a_handful_of_holdout_images_is_no_control():
    rng = np.random.default_rng(0)
    outcome = run(evidence(*(smooth_images(rng, n) for n in (60, 60, 19))))
    assert isinstance(outcome, Invalid)
    assert "at least 20 images" in outcome.reason


def test_copies_among_images_that_resemble_each_other_are_still_caught():
    found = named(run(copier(0, copy_rate=0.3, latent=8, grain=0.0)))
    assert found["near_copy_excess"].interval.low > 0
    assert found["exact_copy_rate"].interval.low > 0.2


def test_mirrored_copies_are_found():
    findings = run(copier(0, copy_rate=0.1, mirrored=True))
    assert named(findings)["near_copy_excess"].interval.low > 0
    seen = counts(findings)
    assert seen["flagged samples that are mirrored"] == seen["samples flagged as near copies"]


@pytest.mark.parametrize("grain", [0.0, 1.0, 12.0])
def test_copies_of_an_image_that_is_a_hundred_times_in_training_are_found(grain):
    findings = run(copier(0, copy_rate=0.1, repeated=100, grain=grain))
    found, seen = named(findings), counts(findings)
    assert found["near_copy_rate"].interval.low > 0.05
    assert seen["different training images"] == 400
    assert seen["most copies of one image in training"] == 100
    assert seen["different training images reproduced"] == 1
    if grain == 12.0:  # beyond the exact rule: the relative rule alone finds it
        assert found["exact_copy_rate"].value == 0


def test_replayed_training_images_fail_everywhere():
    found = named(run(copier(0, copy_rate=1.0, grain=0.0)))
    for name in ("near_copy_excess", "near_copy_rate", "exact_copy_rate"):
        assert found[name].interval.low > 0.95


def test_re_encoded_copies_are_found():
    rng = np.random.default_rng(0)
    training = smooth_images(rng, 300)

    def jpeg(image):
        buffer = io.BytesIO()
        Image.fromarray(image[0]).save(buffer, "JPEG", quality=75)
        return np.asarray(Image.open(buffer))[None]

    samples = smooth_images(rng, 100)
    samples[:30] = [jpeg(image) for image in training[:30]]
    found = named(run(evidence(samples, training, smooth_images(rng, 200))))
    assert found["near_copy_rate"].value == pytest.approx(0.3)


def test_without_a_holdout_there_are_rates_but_no_excess():
    found = named(run(copier(0, holdout=0)))
    assert set(found) == {"near_copy_rate", "exact_copy_rate"}
    assert found["near_copy_rate"].floor is None


def test_a_holdout_that_is_part_of_training_is_no_control():
    rng = np.random.default_rng(0)
    training, samples = smooth_images(rng, 200), smooth_images(rng, 100)
    holdout = np.concatenate([training[:20], smooth_images(rng, 180)])
    outcome = run(evidence(samples, training, holdout))
    assert isinstance(outcome, Invalid)
    assert "20 of 200 different holdout images" in outcome.reason
    assert "0 of 100 samples" in outcome.reason


def test_a_stray_training_image_in_the_holdout_is_left_out_and_counted():
    rng = np.random.default_rng(0)
    training = smooth_images(rng, 200)
    holdout = np.concatenate([training[:1], smooth_images(rng, 199)])
    findings = run(evidence(smooth_images(rng, 100), training, holdout))
    assert counts(findings)["holdout images found in training"] == 1
    assert named(findings)["near_copy_false_positive_rate"].n == 199


def test_with_too_few_training_images_only_exact_copies_are_measured():
    rng = np.random.default_rng(0)
    training = np.repeat(smooth_images(rng, 50), 4, axis=0)  # 200 images, 50 different ones
    findings = run(evidence(np.concatenate([training[:10], smooth_images(rng, 90)]), training, smooth_images(rng, 99)))
    found = named(findings)
    assert set(found) == {"exact_copy_rate"}
    assert found["exact_copy_rate"].value == pytest.approx(0.1)
    assert "more than 50" in found["exact_copy_rate"].note


def test_grey_samples_stored_as_rgb_are_compared_as_grey():
    rng = np.random.default_rng(0)
    training, holdout = smooth_images(rng, 100), smooth_images(rng, 100)
    samples = np.concatenate([training[:5], smooth_images(rng, 95)])
    grey = named(run(evidence(samples, training, holdout)))
    rgb = named(run(evidence(np.repeat(samples, 3, axis=1), training, holdout)))
    assert grey["near_copy_excess"].value == rgb["near_copy_excess"].value > 0


def test_large_images_are_compared_as_block_means():
    rng = np.random.default_rng(0)
    small = [smooth_images(rng, n) for n in (60, 80, 60)]
    small[0][:6] = small[1][:6]
    large = [np.repeat(np.repeat(one, 12, axis=2), 12, axis=3) for one in small]  # 144 x 144
    found = named(run(evidence(*large)))
    assert found["near_copy_rate"].value == pytest.approx(0.1)
    assert found["near_copy_rate"].signature["compared_at"] == "72x72"


def test_images_of_another_size_cannot_be_compared():
    rng = np.random.default_rng(0)
    training = smooth_images(rng, 60)
    outcome = run(evidence(training[:, :, :10, :10], training))
    assert isinstance(outcome, NotApplicable)
    assert "10x10" in outcome.reason


def test_training_images_go_to_the_private_folder_only(tmp_path):
    findings = run(copier(0, copy_rate=0.1, private=tmp_path / "private"))
    with (tmp_path / "private" / "near_copies.csv").open() as file:
        rows = list(csv.DictReader(file))
    flagged = counts(findings)["samples flagged as near copies"]
    assert len(rows) == flagged
    assert {row["rule"] for row in rows} == {"exact"}
    with Image.open(tmp_path / "private" / "near_copies.png") as panels:
        assert panels.size == (60 + 4 + 60, 20 * 60 + 19 * 4)
    assert f"{flagged} pairs are listed" in named(findings)["near_copy_rate"].note
    assert str(tmp_path) not in repr(findings)


def test_nothing_is_written_when_nothing_was_copied(tmp_path):
    run(copier(0, copy_rate=0.0, private=tmp_path / "private"))
    assert not (tmp_path / "private").exists()


def test_thresholds_are_settings_and_part_of_the_signature():
    base = copier(0, copy_rate=0.1, grain=12.0)
    assert named(run(base))["near_copy_rate"].value > 0.05
    base.parameters = {"alpha": 0.05}
    found = named(run(base))["near_copy_rate"]
    assert found.value == 0
    assert found.signature["alpha"] == 0.05
    assert found.signature["against_digest"] == base.images("training").digest


@pytest.mark.parametrize(("given", "message"), [({"alfa": 1.0}, "Did you mean 'alpha'"), ({"alpha": -1}, "positive")])
def test_settings_it_does_not_have_are_refused(given, message):
    base = copier(0)
    base.parameters = given
    with pytest.raises(ConfigError, match=message):
        run(base)


def test_the_smallest_detectable_excess_would_have_been_detected():
    text = named(run(copier(0, copy_rate=0.0)))["near_copy_excess"].note
    rate = float(text.rsplit(" ", 1)[1].rstrip("%.")) / 100
    seen = sum(named(run(copier(s, copy_rate=rate)))["near_copy_excess"].interval.low > 0 for s in range(40))
    assert seen >= binom.ppf(0.001, 40, 0.95)


def test_the_figure_shows_both_curves():
    figure = next(one for one in run(copier(0)) if isinstance(one, Figure))
    assert [series.name for series in figure.series][:2] == ["samples", "holdout"]
