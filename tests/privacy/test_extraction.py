import csv
import io

import numpy as np
import pytest
from ldm_eval_privacy.extraction import Extraction
from ldm_eval_privacy.extraction_phantoms import extractor, holdout_replay, repeater
from ldm_eval_privacy.phantoms import smooth_images
from ldm_eval_privacy.repetition import repetition
from PIL import Image
from scipy.stats import binom

from ldm_eval.api import Figure, Measurement, Table
from ldm_eval.errors import ConfigError
from ldm_eval.testing.evidence import PhantomEvidence, image_set

ALARM = Extraction.phantoms.alarm


def run(evidence):
    return Extraction().run(evidence)


def named(findings):
    assert isinstance(findings, list), findings
    return {one.name: one for one in findings if isinstance(one, Measurement)}


def table(findings, name):
    return next(one for one in findings if isinstance(one, Table) and one.name == name)


def evidence(**sets):
    images = {role: image_set(pixels, role) for role, pixels in sets.items()}
    return PhantomEvidence("privacy/extraction", 0, images=images)


def fresh(n, seed=0, latent=24):
    return smooth_images(np.random.default_rng(seed), n, latent)


def test_the_expected_share_of_extracted_images_lies_in_the_interval():
    seeds, truth = 40, Extraction.phantoms.catches.truth
    found = [named(run(extractor(seed)))["extracted_share"] for seed in range(seeds)]
    assert truth == pytest.approx(1 - (1 - 0.1 / 400) ** 400, abs=1e-6)
    assert sum(one.interval.low <= truth <= one.interval.high for one in found) >= binom.ppf(0.001, seeds, 0.95)
    assert all(ALARM.raised_by(one) for one in found)


def test_the_holdout_given_out_image_by_image_extracts_nothing_and_repeats_nothing():
    for seed in range(10):
        found = named(run(holdout_replay(seed)))
        assert not ALARM.raised_by(found["extracted_share"])
        assert found["extracted_share"].value == 0
        assert found["repetition_rate"].value == 0
        assert "0.75% of samples show would have been seen" in found["extracted_share"].note
        assert found["extractable_images"].value == found["extractable_images"].interval.low == 0
        assert found["extractable_images"].interval.high == 400


def test_where_fresh_images_resemble_training_images_nobody_is_accused_by_the_exact_rule():
    values, floors = [], []
    for seed in range(20):
        training, samples, holdout = np.split(fresh(1200, seed, latent=8), 3)
        found = named(run(evidence(samples=samples, training=training, holdout=holdout)))
        assert found["extracted_share"].value == 0
        values.append(found["near_extracted_share"].value)
        floors.append(found["near_extracted_share"].floor)
    difference = np.subtract(values, floors)
    assert abs(difference.mean()) < 3 * difference.std() / np.sqrt(20)
    published = named(run(evidence(samples=samples, training=training)))["near_extracted_share"]
    assert published.value > 0.04
    assert "honest samples meet too" in published.note


@pytest.mark.parametrize("grain", [0.0, 1.0])
def test_an_image_that_is_in_training_a_hundred_times_and_copied_is_found(grain):
    found = named(run(extractor(0, copy_rate=0.05, repeated=100, extractable=1, grain=grain)))
    assert found["extracted_share"].value == 1 / 400
    assert ALARM.raised_by(found["extracted_share"])
    assert found["extractable_images"].value == 1
    assert found["most_repeated_share"].interval.low > 0.01


def test_mirrored_copies_are_found():
    found = named(run(extractor(0, copy_rate=0.2, mirrored=True)))
    straight = named(run(extractor(0, copy_rate=0.2)))
    assert found["extracted_share"].value == straight["extracted_share"].value > 0.1


def test_copies_that_were_re_encoded_or_recoloured_are_found_by_the_relative_rule():
    training, samples = fresh(300, 1), fresh(300, 2)

    def jpeg(image):
        stream = io.BytesIO()
        Image.fromarray(image[0]).save(stream, "JPEG", quality=40)
        return np.asarray(Image.open(stream))[None]

    samples[:30] = [jpeg(image) for image in training[:30]]
    samples[30:50] = (training[30:50] * 0.9).astype(np.uint8)
    found = named(run(evidence(samples=samples, training=training, holdout=fresh(300, 3))))
    assert found["near_extracted_share"].value >= 49 / 300
    assert found["extracted_share"].value < 49 / 300


def test_the_curve_ends_at_what_was_found_and_the_table_counts_it():
    findings = run(extractor(3, copy_rate=0.5, extractable=20))
    figure = next(one for one in findings if isinstance(one, Figure))
    curve = figure.series[0]
    rows = table(findings, "extracted").rows
    assert curve.x[-1] == 400
    assert curve.y[-1] == pytest.approx(20) == sum(row[1] for row in rows)
    assert sum(row[2] for row in rows) == sum(row[0] * row[1] for row in rows) > 150
    assert curve.y[1] == pytest.approx(20 * (1 - (1 - 0.5 / 20) ** curve.x[1]), rel=0.15)


def test_what_is_extractable_at_least_is_claimed_and_no_more():
    seeds = 40
    found = [named(run(extractor(s, copy_rate=0.5, extractable=100)))["extractable_images"] for s in range(seeds)]
    assert sum(one.interval.low <= 100 for one in found) >= binom.ppf(0.001, seeds, 0.95)
    assert np.mean([one.interval.low for one in found]) > 80
    assert {one.interval.sided for one in found} == {"lower"}


def test_a_model_that_always_makes_the_same_picture_is_found_without_its_training_data():
    for samples in (50, 400):
        found = named(run(repeater(0, pictures=1, rate=1.0, samples=samples, holdout=0)))
        assert set(found) == {"repetition_rate", "most_repeated_share"}
        assert found["repetition_rate"].value == found["most_repeated_share"].value == 1
        assert found["repetition_rate"].interval.low > 0.8


def test_cliques_among_other_samples_are_found_mirrored_ones_too_and_real_images_are_the_floor():
    findings = run(repeater(1, pictures=3, rate=0.1))
    found = named(findings)
    assert found["repetition_excess"].interval.low > 0
    assert found["repetition_rate"].floor == 0
    what, samples, holdout = zip(*table(findings, "cliques").rows, strict=True)
    assert what[1] == "groups that show one picture"
    assert (samples[1], holdout[1]) == (3, 0)
    assert abs(samples[2] - 40) < 20


def test_a_source_that_repeats_itself_is_no_accusation_of_a_model_that_does_so_equally():
    """Half of the real images are one of 5 pictures: samples of that law repeat themselves, and so does the holdout."""
    seeds, alarms = 40, 0
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        pictures, images = smooth_images(rng, 5), smooth_images(rng, 400)
        usual = rng.random(400) < 0.5
        images[usual] = pictures[rng.integers(5, size=400)][usual]
        found = named(run(evidence(samples=images[:200], holdout=images[200:])))
        alarms += found["repetition_excess"].interval.low > 0
        assert found["repetition_rate"].value > 0.3
    assert alarms <= binom.ppf(0.999, seeds, 0.025)


def test_the_repetition_rate_has_an_interval_that_covers():
    """One of 30 pictures with probability 0.3: given a first part that shows u of them, the truth is 0.3 u/30."""
    runs, covered = 200, 0
    for seed in range(runs):
        rng = np.random.default_rng(seed)
        pixels = rng.integers(0, 256, size=(100, 1, 4, 4)).astype(np.uint8)
        pictures = rng.integers(0, 256, size=(30, 1, 4, 4)).astype(np.uint8)
        which = np.where(rng.random(100) < 0.3, rng.integers(30, size=100), -1)
        pixels[which >= 0] = pictures[which[which >= 0]]
        found = repetition(pixels, 4.0, np.random.default_rng(seed))
        first = np.random.default_rng(seed).permutation(100)[:50]
        truth = 0.3 * len(set(which[first]) - {-1}) / 30
        tail = binom.cdf(found.again.sum(), 50, truth), binom.sf(found.again.sum() - 1, 50, truth)
        covered += min(tail) > 0.025
    assert covered >= binom.ppf(0.001, runs, 0.95)


def test_fifty_samples_and_a_small_or_foreign_training_set_still_say_something():
    samples = fresh(50)
    assert set(named(run(evidence(samples=samples)))) == {"repetition_rate", "most_repeated_share"}
    few = named(run(evidence(samples=samples, training=samples[:3])))
    assert few["extracted_share"].value == 1
    assert "near_extracted_share" not in few
    foreign = named(run(evidence(samples=samples, training=np.zeros((9, 1, 8, 8), dtype=np.uint8))))
    assert "extracted_share" not in foreign


def test_a_holdout_that_is_the_training_set_is_no_control():
    training = fresh(100, 1)
    found = named(run(evidence(samples=fresh(100, 2), training=training, holdout=training)))
    assert "are (nearly) training images" in found["near_extracted_share"].note
    assert found["near_extracted_share"].floor is None


def test_pictures_go_to_the_private_folder_only(tmp_path):
    findings = run(extractor(0, copy_rate=0.3, extractable=5, private=tmp_path))
    with (tmp_path / "extracted.csv").open() as file:
        assert {row["training_id"] for row in csv.DictReader(file) if row["rule"] == "exact"} == set("01234")
    assert (tmp_path / "repeated_samples.csv").exists()
    assert "private folder" in named(findings)["extracted_share"].note


def test_the_same_evidence_gives_the_same_answer_and_unknown_settings_are_refused():
    assert run(extractor(2)) == run(extractor(2))
    given = evidence(samples=fresh(50))
    given.parameters = {"alfa": 1.0}
    with pytest.raises(ConfigError, match="Did you mean 'alpha'"):
        run(given)
