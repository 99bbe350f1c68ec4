from dataclasses import replace

import numpy as np
import pytest
from ldm_eval_privacy.caption_likelihood import CaptionLikelihood
from ldm_eval_privacy.caption_phantoms import exact_law, memoriser, reader
from ldm_eval_privacy.caption_words import judge_captions
from scipy.stats import binom

from ldm_eval.api import Figure, Invalid, Measurement, NotApplicable, Table


def run(evidence):
    return CaptionLikelihood().run(evidence)


def named(findings):
    assert isinstance(findings, list), findings
    return {one.name.removeprefix("caption_likelihood_"): one for one in findings if isinstance(one, Measurement)}


def measured(made):
    found = [run(one) for one in made]
    assert all(isinstance(one, list | Invalid) for one in found)
    return [named(one) for one in found if not isinstance(one, Invalid)]


def with_captions(evidence, role, captions):
    images = evidence._images
    images[role] = replace(images[role], prompts=None if captions is None else np.asarray(captions, dtype=np.str_))
    return evidence


def test_pairs_known_by_heart_are_caught():
    seeds = 8
    caught = measured(memoriser(seed) for seed in range(seeds))
    assert len(caught) >= binom.ppf(0.001, seeds, 0.965)
    for one in caught:
        assert one["auc"].interval.low > 0.9
        assert one["auc_fixed_caption"].interval.low > 0.9  # such a network knows the images without their captions too
        assert one["auc_shuffled_captions"].interval.high < 0.1  # and is sure that a wrong caption is wrong
        assert one["tpr_at_1_percent_fpr"].interval.low > 0.7
        assert "smallest AUC this run could have seen" in one["auc"].note


def test_the_laws_of_words_are_not_accused_in_95_percent_of_seeds():
    seeds = 60
    found = measured(exact_law(seed) for seed in range(seeds))
    assert len(found) >= binom.ppf(0.001, seeds, 0.965)
    for name in ("auc", "auc_fixed_caption", "auc_shuffled_captions"):
        intervals = [one[name].interval for one in found]
        assert sum(interval.low > 0.5 for interval in intervals) <= binom.ppf(0.999, seeds, 0.05)
        assert sum(interval.low <= 0.5 <= interval.high for interval in intervals) >= binom.ppf(0.001, len(found), 0.94)


def test_a_model_that_knows_captions_and_no_image_falls_when_captions_are_held_fixed():
    for one in measured(reader(seed) for seed in range(6)):
        assert one["auc"].interval.low > 0.8
        assert one["auc_shuffled_captions"].interval.low > 0.8  # any caption of the set will do: not the pair is known
        assert one["auc_fixed_caption"].interval.low < 0.5 < one["auc_fixed_caption"].interval.high + 0.1
        fixed = one["auc_fixed_caption"]
        assert f"With one caption for all images {fixed.value:.2f}" in one["auc"].note


def test_captions_that_differ_by_themselves_are_invalid():
    for seed in range(4):
        found = run(exact_law(seed, other_words=True))
        assert isinstance(found, Invalid)
        assert "told apart without the model and the images" in found.reason


def test_captions_of_one_law_are_called_different_at_the_stated_rate():
    rng = np.random.default_rng(5)
    words = [f"word{number}" for number in range(60)]

    def captions(n):
        return [" ".join(rng.choice(words, size=rng.integers(3, 9))) for _ in range(n)]

    runs = 150
    seen = sum(judge_captions(*(captions(80) for _ in range(4))).sees_a_difference for _ in range(runs))
    assert seen <= binom.ppf(0.999, runs, 0.01)


@pytest.mark.parametrize("style", ["A photo of {}", "{}!", "{} 7"])
def test_a_difference_of_style_is_seen(style):
    rng = np.random.default_rng(6)
    names = [f"{rng.integers(10**6)}x" for _ in range(400)]
    plain, styled = names[:200], [style.format(name) for name in names[200:]]
    assert judge_captions(plain[:100], styled[:100], plain[100:], styled[100:]).sees_a_difference


def test_without_captions_it_does_not_apply():
    found = run(with_captions(exact_law(0), "holdout", None))
    assert isinstance(found, NotApplicable)
    assert "column 'prompt'" in found.reason


def test_images_without_a_caption_are_left_out_and_too_few_are_not_enough():
    evidence = exact_law(0)
    captions = [str(one) for one in evidence.images("training").prompts]
    found = run(with_captions(exact_law(0), "training", captions[:30] + [" "] * 130))
    assert isinstance(found, NotApplicable)
    assert "50 different scored images with captions" in found.reason
    found = run(with_captions(exact_law(0), "training", captions[:150] + [""] * 10))
    assert named(found)["auc"].n < 160


def test_it_reports_the_blind_classifiers_and_three_curves():
    found = run(exact_law(0))
    (table,) = (one for one in found if isinstance(one, Table))
    assert [row[0] for row in table.rows] == ["image statistics", "phantom features", "caption words"]
    (figure,) = (one for one in found if isinstance(one, Figure))
    assert [one.name for one in figure.series] == [
        "own captions",
        "one caption for all",
        "shuffled captions",
        "guessing",
    ]
