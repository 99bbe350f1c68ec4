import csv
from dataclasses import replace

import numpy as np
import pytest
from ldm_eval_privacy.data_phantoms import as_jpeg, two_sets
from ldm_eval_privacy.phantoms import smooth_images
from ldm_eval_privacy.training_set import TrainingSet
from PIL import Image
from scipy.stats import binom

from ldm_eval.api import Measurement, Table
from ldm_eval.errors import ConfigError
from ldm_eval.testing.evidence import PhantomEvidence, image_set


def run(evidence):
    return TrainingSet().run(evidence)


def named(findings):
    assert isinstance(findings, list), findings
    return {one.name: one for one in findings if isinstance(one, Measurement)}


def table(findings, name):
    return next(one for one in findings if isinstance(one, Table) and one.name == name)


def counts(findings):
    return dict(table(findings, "counts").rows)


def evidence(training, holdout=None, **more):
    sets = {"training": training} if holdout is None else {"training": training, "holdout": holdout}
    features = {role: pixels.reshape(len(pixels), -1)[:, ::7].astype(np.float32) for role, pixels in sets.items()}
    images = {role: image_set(pixels, role) for role, pixels in sets.items()}
    return PhantomEvidence("privacy/training_set", 0, images=images, features=features, **more)


def fresh(n, seed=0):
    return smooth_images(np.random.default_rng(seed), n)


def test_members_as_png_and_others_as_jpeg_are_caught_and_one_law_is_left_alone():
    alarm = TrainingSet.phantoms.alarm
    assert all(alarm.raised_by(named(run(two_sets(seed, quality=90)))["blind_auc"]) for seed in range(10))
    seeds = 60
    found = [named(run(two_sets(seed)))["blind_auc"] for seed in range(seeds)]
    assert "The smallest AUC" in found[0].note
    assert sum(alarm.raised_by(one) for one in found) <= binom.ppf(0.999, seeds, 0.025)
    assert sum(one.interval.low <= 0.5 <= one.interval.high for one in found) >= binom.ppf(0.001, seeds, 0.95)


def test_multiplicities_and_the_share_of_duplicated_images_are_counted():
    images = fresh(60)
    training = np.concatenate([images, np.repeat(images[:1], 99, axis=0), np.repeat(images[1:4], 4, axis=0)])
    findings = run(evidence(np.random.default_rng(0).permutation(training)))
    assert table(findings, "multiplicities").rows == ((1, 56, 56), (5, 3, 15), (100, 1, 100))
    assert table(findings, "largest_groups").rows == ((1, 100), (2, 5), (3, 5), (4, 5))
    share = named(findings)["duplicated_share"]
    assert share.value == 115 / 171
    assert (share.interval.low, share.interval.high) == (share.value, share.value)
    assert counts(findings)["different training images"] == 60
    assert counts(findings)["most copies of one image in training"] == 100


def test_near_duplicates_are_told_from_equal_ones_and_mirror_images_counted_apart():
    images = fresh(80)
    noisy = np.clip(images[:5].astype(int) + np.random.default_rng(1).integers(-2, 3, images[:5].shape), 0, 255)
    found = counts(
        run(evidence(np.concatenate([images, images[:3], noisy.astype(np.uint8), images[10:17, ..., ::-1]])))
    )
    assert found["equal to an earlier one pixel by pixel"] == 3
    assert found["nearly equal to an earlier one"] == 5
    assert found["different training images"] == 87
    assert found["different training images that are another one mirrored"] == 7


def test_symmetric_images_are_not_their_own_twins():
    images = fresh(60)
    images[:20] = images[:20] // 2 + images[:20, ..., ::-1] // 2
    assert counts(run(evidence(images)))["different training images that are another one mirrored"] == 0


def test_overlap_with_the_holdout_is_found_by_kind_and_counted_once():
    training, holdout = fresh(120, 1), fresh(120, 2)
    holdout[:6] = training[:6]
    holdout[6:9] = training[6:9, ..., ::-1]
    holdout[9:11] = np.clip(training[9:11].astype(int) + 2, 0, 255)
    findings = run(evidence(training, np.concatenate([holdout, holdout[:6]])))
    found = named(findings)
    assert found["holdout_overlap_rate"].value == 11 / 120
    assert found["holdout_exact_overlap_rate"].value == 6 / 120
    assert found["holdout_mirrored_overlap_rate"].value == 3 / 120
    assert found["holdout_overlap_rate"].interval.estimator == "Clopper-Pearson"
    assert counts(findings)["holdout images found in training, nearly equal"] == 2
    clean = named(run(evidence(training, fresh(400, 3))))["holdout_overlap_rate"]
    assert clean.value == 0
    assert 0 < clean.interval.high < 0.01


def test_words_that_only_the_captions_of_members_have_are_seen():
    given = two_sets(0)
    words = {"training": "a photo of a cat, studio", "holdout": "a photo of a cat"}
    for role, text in words.items():
        images = given.images(role)
        given._images[role] = replace(images, prompts=np.array([text] * len(images)))
    findings = run(given)
    assert named(findings)["blind_auc"].interval.low > 0.9
    assert "caption words" in named(findings)["blind_auc"].note
    assert [row[0] for row in table(findings, "blind_views").rows][-1] == "caption words"


def test_without_a_holdout_or_with_one_of_another_size_the_duplicates_are_still_counted():
    alone = run(evidence(fresh(60)))
    assert set(named(alone)) == {"duplicated_share"}
    assert "no holdout" in table(alone, "counts").note
    other = run(evidence(fresh(60), np.zeros((60, 1, 8, 8), dtype=np.uint8)))
    assert set(named(other)) == {"duplicated_share"}
    assert "different sizes" in table(other, "counts").note


def test_too_few_images_leave_the_blind_classifier_out():
    findings = run(evidence(fresh(60), fresh(40, 5)))
    assert "blind_auc" not in named(findings)
    assert "needs 50" in table(findings, "counts").note
    assert "holdout_overlap_rate" in named(findings)


def test_a_single_training_image_and_a_holdout_that_is_the_training_set():
    assert named(run(evidence(fresh(1))))["duplicated_share"].value == 0
    same = named(run(evidence(fresh(60), fresh(60))))
    assert same["holdout_overlap_rate"].value == 1
    assert "blind_auc" not in same


def test_which_images_are_duplicates_goes_to_the_private_folder_only(tmp_path):
    given = two_sets(3, repeated=30, shared=2, mirrored=1, private=tmp_path)
    findings = run(given)
    with (tmp_path / "training_duplicates.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["image_id"] for row in rows] == ["0", *[str(row) for row in range(300, 329)]]
    assert {(row["group"], row["images_in_group"], row["first_image_id"]) for row in rows} == {("1", "30", "0")}
    with Image.open(tmp_path / "training_duplicates.png") as sheet:
        assert sheet.size == (8 * 60 + 7 * 4, 60)
    with (tmp_path / "holdout_overlap.csv").open() as file:
        assert [(row["image_id"], row["mirrored"]) for row in csv.DictReader(file)] == [
            ("0", "0"),
            ("1", "0"),
            ("2", "1"),
        ]
    assert "private folder" in named(findings)["duplicated_share"].note


def test_the_same_evidence_gives_the_same_answer_and_unknown_settings_are_refused():
    assert run(two_sets(2)) == run(two_sets(2))
    with pytest.raises(ConfigError, match="no setting 'grey'"):
        run(evidence(fresh(60), parameters={"grey": 3.0}))


def test_the_codec_of_the_phantom_is_one():
    pixels = fresh(3)
    assert 0 < np.abs(as_jpeg(pixels, 90).astype(int) - pixels).mean() < 10


def test_the_planted_duplicates_of_the_demo_are_named(tmp_path):
    from ldm_eval_demo.portraits import load, planted

    from ldm_eval.api import DataRef

    training = load(DataRef("portraits"), "train")
    given = PhantomEvidence("privacy/training_set", 0, images={"training": training}, private=tmp_path)
    findings = run(given)
    assert counts(findings)["different training images"] == 1448
    assert table(findings, "multiplicities").rows == ((1, 1440, 1440), (20, 8, 160))
    assert named(findings)["duplicated_share"].value == 0.1
    found: dict[str, set[str]] = {}
    with (tmp_path / "training_duplicates.csv").open() as file:
        for row in csv.DictReader(file):
            found.setdefault(row["group"], set()).add(row["image_id"])
    assert sorted(map(sorted, found.values())) == sorted(map(sorted, planted()))
