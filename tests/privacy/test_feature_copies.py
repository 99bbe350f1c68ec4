import csv
import dataclasses
import io

import numpy as np
import pytest
from ldm_eval_privacy.feature_copies import FeatureCopies
from ldm_eval_privacy.feature_phantoms import feature_copier, random_features
from ldm_eval_privacy.feature_space import fit_space, match
from ldm_eval_privacy.phantoms import smooth_images
from PIL import Image
from scipy.stats import binom

from ldm_eval.api import ExtractorInfo, Figure, Invalid, Measurement, Table
from ldm_eval.errors import ConfigError, EvidenceError
from ldm_eval.testing.evidence import PhantomEvidence, image_set

SSCD = ExtractorInfo("sscd", "1" * 64, 64, None, "none", "MIT")


def run(evidence):
    return FeatureCopies().run(evidence)


def named(findings):
    assert isinstance(findings, list), findings
    return {one.name: one for one in findings if isinstance(one, Measurement)}


def table(findings, name="counts"):
    return dict(next(one for one in findings if isinstance(one, Table) and one.name == name).rows)


def unit_evidence(cosines, holdout_cosines, **more):
    """Training: the first of the unit vectors; the others have these cosines to it and are orthogonal otherwise."""

    def rows(values, first):
        values = np.asarray(values, dtype=np.float64)
        out = np.zeros((len(values), 64), dtype=np.float64)
        out[:, 0] = values
        rng = np.random.default_rng(first)
        rest = rng.normal(size=(len(values), 63))
        out[:, 1:] = rest / np.linalg.norm(rest, axis=1, keepdims=True) * np.sqrt(1 - values**2)[:, None]
        return out.astype(np.float32)

    features = {"samples": rows(cosines, 0), "training": np.eye(64, dtype=np.float32)[:1]}
    if len(holdout_cosines):
        features["holdout"] = rows(holdout_cosines, 1)
    return PhantomEvidence("privacy/feature_copies", 0, features=features, extractor=SSCD, **more)


def test_the_published_thresholds_are_read_off_raw_cosines():
    samples = np.concatenate([np.full(3, 0.76), np.full(4, 0.6), np.full(93, 0.3)])
    found = named(run(unit_evidence(samples, np.full(60, 0.2))))
    assert found["sscd_copy_rate"].value == pytest.approx(0.03)
    assert found["sscd_review_rate"].value == pytest.approx(0.07)
    assert found["sscd_false_positive_rate"].value == 0
    assert found["feature_copy_excess"].value == pytest.approx(0.03)  # the published threshold, not the lower one
    assert found["feature_copy_excess"].signature["whitened_by_training"] is False


def test_where_fresh_images_pass_the_published_rule_the_excess_takes_a_stricter_one():
    rng = np.random.default_rng(0)
    found = named(run(unit_evidence(rng.uniform(0.6, 0.9, 300), rng.uniform(0.6, 0.9, 400))))
    assert found["sscd_copy_rate"].value > 0.3
    assert found["sscd_copy_rate"].floor == pytest.approx(found["sscd_false_positive_rate"].value)
    assert found["feature_copy_excess"].interval.low < 0 < found["feature_copy_excess"].interval.high


def test_published_names_are_used_in_their_space_only():
    assert set(named(run(feature_copier(0)))) == {"feature_copy_excess", "identical_feature_rate"}


def test_one_copy_in_ten_raises_the_alarm_and_none_does_not():
    alarm = FeatureCopies.phantoms.alarm
    assert all(alarm.raised_by(named(run(feature_copier(seed)))["feature_copy_excess"]) for seed in range(10))
    seeds = 60
    alarms = [
        alarm.raised_by(named(run(feature_copier(seed, copy_rate=0.0)))["feature_copy_excess"]) for seed in range(seeds)
    ]
    assert sum(alarms) <= binom.ppf(0.999, seeds, 0.025)


def test_mirrored_copies_are_found_and_said_to_be_mirrored():
    findings = run(feature_copier(0, mirrored=True))
    assert named(findings)["feature_copy_excess"].interval.low > 0.05
    assert table(findings)["flagged samples that are mirrored"] >= 35


@pytest.mark.parametrize("grain", [0.0, 12.0])
def test_copies_of_an_image_that_is_a_hundred_times_in_training_are_found(grain):
    findings = run(feature_copier(0, repeated=100, grain=grain))
    assert named(findings)["feature_copy_excess"].interval.low > 0.05
    if not grain:
        assert named(findings)["identical_feature_rate"].interval.low > 0.05
    seen = table(findings)
    assert seen["training images"] == 499
    assert seen["most samples of one training image"] >= 40  # the hundred rows are one image
    assert seen["different training images reproduced"] <= 20  # it, and a few fresh images above the threshold


def test_replayed_holdout_images_are_not_copies():
    rng = np.random.default_rng(0)
    training, shown, holdout = (smooth_images(rng, 300) for _ in range(3))
    found = named(run(of_pixels(shown, training, holdout)))
    assert found["feature_copy_excess"].interval.low <= 0
    assert found["identical_feature_rate"].value == 0


def test_replayed_training_images_fail_everywhere():
    found = named(run(feature_copier(0, copy_rate=1.0, grain=0.0)))
    assert all(one.interval.low > 0.95 for one in found.values())


def of_pixels(samples, training, holdout=None, **more):
    sets = {"samples": samples, "training": training} | ({} if holdout is None else {"holdout": holdout})
    return PhantomEvidence(
        "privacy/feature_copies",
        0,
        images={role: image_set(pixels, role) for role, pixels in sets.items()},
        features={role: random_features(pixels) for role, pixels in sets.items()},
        mirrored={role: random_features(pixels[..., ::-1]) for role, pixels in sets.items() if role != "training"},
        **more,
    )


def test_without_a_holdout_there_is_no_excess():
    findings = run(feature_copier(0, holdout=0))
    assert set(named(findings)) == {"identical_feature_rate"}
    assert not any(isinstance(one, Figure) for one in findings)


def test_a_holdout_of_features_alone_switches_mirrors_off_on_both_sides():
    evidence = feature_copier(0, mirrored=True)
    del evidence._mirrored["holdout"]
    found = named(run(evidence))["feature_copy_excess"]
    assert found.value < 0.05
    assert found.signature["mirrored"] is False
    assert "Mirrored images were not looked for" in found.note


def test_a_holdout_that_is_part_of_training_is_no_control():
    rng = np.random.default_rng(0)
    training = smooth_images(rng, 200)
    outcome = run(
        of_pixels(smooth_images(rng, 100), training, np.concatenate([training[:20], smooth_images(rng, 180)]))
    )
    assert isinstance(outcome, Invalid)
    assert "20 of 200 different holdout images" in outcome.reason


def test_a_holdout_that_holds_each_image_ten_times_counts_each_once():
    rng = np.random.default_rng(0)
    samples, training, fresh = (smooth_images(rng, n) for n in (100, 200, 60))
    findings = run(of_pixels(samples, training, np.repeat(fresh, 10, axis=0)))
    assert table(findings)["different holdout images"] == 60


def test_conformal_p_values_are_uniform_for_fresh_images_and_their_floor_is_named():
    m, seeds, alarms = 400, 40, 0
    for seed in range(seeds):
        found = table(run(feature_copier(seed, copy_rate=0.0)), "conformal")
        alarms += found["samples called copies at a false discovery rate of 5 %"] > 0
    assert alarms <= binom.ppf(0.999, seeds, 0.05)
    assert found["smallest p-value that so many can give"] == pytest.approx(1 / (m + 1), abs=1e-6)


def test_a_handful_of_copies_cannot_be_called_with_a_small_holdout():
    seen = table(run(feature_copier(0, copy_rate=0.02, holdout=100)), "conformal")
    needed = seen["fewest such samples that are called copies at a false discovery rate of 5 %"]
    assert needed == 80  # 400 samples, 100 holdout images: 400 / (101 * 0.05)
    assert seen["samples at that smallest p-value"] < needed
    assert seen["samples called copies at a false discovery rate of 5 %"] == 0


def test_pairs_go_to_the_private_folder_and_a_set_of_features_has_no_pictures(tmp_path):
    evidence = feature_copier(0, private=tmp_path / "a")
    findings = run(evidence)
    with (tmp_path / "a" / "feature_copies-phantom.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == table(findings)["samples above the calibrated threshold"]
    assert all(0 <= float(row["one_minus_cosine"]) < 1 for row in rows)
    assert (tmp_path / "a" / "feature_copies-phantom.png").is_file()
    evidence = feature_copier(0, private=tmp_path / "b")
    training = evidence._images["training"]
    evidence._images["training"] = dataclasses.replace(training, pixels=training.pixels[:, :, :0, :0])
    run(evidence)
    assert (tmp_path / "b" / "feature_copies-phantom.csv").is_file()
    assert not (tmp_path / "b" / "feature_copies-phantom.png").exists()
    assert str(tmp_path) not in repr(findings)


@pytest.mark.parametrize(("given", "message"), [({"cpy": 1.0}, "Did you mean 'copy'"), ({"copy": -1}, "positive")])
def test_settings_it_does_not_have_are_refused(given, message):
    base = feature_copier(0)
    base.parameters = given
    with pytest.raises(ConfigError, match=message):
        run(base)


def test_the_space_does_not_depend_on_how_often_an_image_is_in_training():
    rng = np.random.default_rng(0)
    features = random_features(smooth_images(rng, 300))
    often = np.concatenate([features, np.repeat(features[:1], 5000, axis=0)])
    once, more = (fit_space(one, "any", rng) for one in (features, often))
    np.testing.assert_allclose(once.rows(features), more.rows(features), atol=1e-6)


def test_matches_are_those_of_brute_force_and_equal_rows_have_cosine_one():
    rng = np.random.default_rng(0)
    features = random_features(smooth_images(rng, 120))
    space = fit_space(features, "any", rng)
    index, queries = space.rows(features), space.rows(random_features(smooth_images(rng, 30)))
    found = match(queries, index[:30], index, lambda done, total: None)
    cosines = np.maximum(queries.astype(float) @ index.T.astype(float), 0)
    assert (found.similarity > 1 - 1e-12).all()  # mirrored queries are rows of the index
    assert found.mirrored.all()
    alone = match(queries, None, index, lambda done, total: None)
    np.testing.assert_allclose(alone.similarity, cosines.max(axis=1), atol=1e-6)
    np.testing.assert_array_equal(alone.nearest, cosines.argmax(axis=1))


@pytest.mark.parametrize("role", ["samples", "training", "holdout"])
def test_features_that_are_not_finite_are_refused_by_name(role):
    base = feature_copier(0)
    base._features[role][7, 3] = np.nan
    with pytest.raises(EvidenceError, match=rf"1 of 400 feature vectors of the {role} set.*image 7"):
        run(base)


def test_a_training_set_of_one_image_has_a_space():
    rng = np.random.default_rng(0)
    training = np.repeat(smooth_images(rng, 1), 30, axis=0)
    found = named(run(of_pixels(np.concatenate([training[:10], smooth_images(rng, 90)]), training)))
    assert found["identical_feature_rate"].value == pytest.approx(0.1)


def jpeg(image):
    buffer = io.BytesIO()
    Image.fromarray(image.transpose(1, 2, 0)).save(buffer, "JPEG", quality=75)
    return np.asarray(Image.open(buffer)).transpose(2, 0, 1)


def cropped(image):
    """The middle 90 % of each side, at full size again."""
    picture = Image.fromarray(image.transpose(1, 2, 0))
    width, height = picture.size
    box = (0.05 * width, 0.05 * height, 0.95 * width, 0.95 * height)
    return np.asarray(picture.resize((width, height), Image.Resampling.BICUBIC, box=box)).transpose(2, 0, 1)


def recoloured(image):
    warmer = image * np.array([1.1, 0.95, 0.8])[:, None, None]
    return np.clip(np.rint(warmer), 0, 255).astype(np.uint8)


@pytest.mark.slow
def test_altered_copies_of_portraits_are_found_by_the_pixel_rule_or_by_features(tmp_path):
    """What one rule misses the other finds: crops are lost to pixels, re-encoding of 32 pixels to a classifier."""
    from ldm_eval_demo import ldm_eval_datasets
    from ldm_eval_features import ldm_eval_extractors
    from ldm_eval_privacy.near_copies import NearCopies

    from ldm_eval.api import DataRef, ExtractorContext

    dataset = next(spec for spec in ldm_eval_datasets() if spec.holdout_split)
    members = dataset.load(DataRef(dataset.name), dataset.splits[0]).pixels[:160]
    others = dataset.load(DataRef(dataset.name), dataset.holdout_split).pixels[:100]
    each, alter = (
        12,
        {"mirrored": lambda x: x[..., ::-1], "cropped": cropped, "re-encoded": jpeg, "recoloured": recoloured},
    )
    altered = [
        change(image) for number, change in enumerate(alter.values()) for image in members[each * number :][:each]
    ]
    kinds = np.repeat([*alter, "fresh"], [each] * 4 + [30])
    samples = np.concatenate([np.stack(altered), others[:30]])
    extract = ldm_eval_extractors()[0].load(ExtractorContext("cpu", True, tmp_path)).extract
    sets = {"samples": samples, "training": members, "holdout": others[30:]}
    seen = {}
    for check, more in (
        (
            FeatureCopies(),
            {
                "features": {role: extract(np.ascontiguousarray(pixels)).values for role, pixels in sets.items()},
                "mirrored": {
                    role: extract(np.ascontiguousarray(sets[role][..., ::-1])).values for role in ("samples", "holdout")
                },
            },
        ),
        (NearCopies(), {}),
    ):
        private = tmp_path / check.id.partition("/")[2]
        images = {role: image_set(pixels, role) for role, pixels in sets.items()}
        named(check.run(PhantomEvidence(check.id, 0, images=images, private=private, **more)))
        with next(private.glob("*.csv")).open() as file:
            rows = {int(row["image_id"]) for row in csv.DictReader(file)}
        seen[check.id] = {
            kind: np.mean([row in rows for row in np.flatnonzero(kinds == kind)]) for kind in (*alter, "fresh")
        }
    by_features, by_pixels = seen["privacy/feature_copies"], seen["privacy/near_copies"]
    assert by_features["mirrored"] == by_pixels["mirrored"] == 1.0
    assert by_features["cropped"] > 0.6 > by_pixels["cropped"]
    assert by_features["recoloured"] > 0.8
    assert by_pixels["re-encoded"] > 0.8
    assert by_features["fresh"] <= 0.1
    assert by_pixels["fresh"] <= 0.1
