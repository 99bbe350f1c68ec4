import csv
from dataclasses import replace

import numpy as np
import pytest
from ldm_eval_privacy.caption_phantoms import exact_law, memoriser, reader
from ldm_eval_privacy.prompt_screen import PromptScreen
from scipy.stats import binom

from ldm_eval.api import Invalid, Measurement, NotApplicable, Table
from ldm_eval.errors import StoreError

SIZES = {"check": "privacy/prompt_screen", "members": 240, "holdout": 240}


def run(evidence):
    return PromptScreen().run(evidence)


def named(findings):
    assert isinstance(findings, list), findings
    return {one.name: one for one in findings if isinstance(one, Measurement)}


def counts(findings):
    table = next(one for one in findings if isinstance(one, Table) and one.name == "prompts")
    return dict(table.rows)


def with_captions(evidence, role, captions):
    images = evidence._images
    images[role] = replace(images[role], prompts=None if captions is None else np.asarray(captions, dtype=np.str_))
    return evidence


@pytest.mark.parametrize("known", [0.1, 0.2, 1.0])
def test_prompts_known_by_heart_are_flagged_at_their_rate(known):
    seeds = 10
    found = [run(memoriser(seed, known=known, **SIZES)) for seed in range(seeds)]
    held = [named(one) for one in found if not isinstance(one, Invalid)]
    assert len(held) >= binom.ppf(0.001, seeds, 0.99)
    caught = sum(one["flagged_prompt_excess"].interval.low > 0 for one in held)
    assert caught >= binom.ppf(0.001, len(held), 0.9)
    for one in held:
        assert one["flagged_prompt_rate"].value == pytest.approx(known, abs=0.03)
        assert one["flagged_prompt_excess"].interval.high > 0.95 * known


def test_the_laws_of_words_are_left_alone():
    seeds = 60
    found = [run(exact_law(seed, **SIZES)) for seed in range(seeds)]
    held = [named(one)["flagged_prompt_excess"].interval for one in found if not isinstance(one, Invalid)]
    assert len(held) >= binom.ppf(0.001, seeds, 0.99)
    assert sum(one.low > 0 for one in held) <= binom.ppf(0.999, seeds, 0.025)
    assert sum(one.low <= 0 <= one.high for one in held) >= binom.ppf(0.001, len(held), 0.94)
    discovered = [counts(one) for one in found if not isinstance(one, Invalid)]
    any_false = sum(one["training prompts discovered at 0.1 expected false ones"] > 0 for one in discovered)
    assert any_false <= binom.ppf(0.999, len(held), 0.1)


def test_a_caption_that_is_known_without_an_image_asks_for_none():
    assert named(run(reader(0, **SIZES)))["flagged_prompt_rate"].value == 0


def test_the_flagged_prompts_are_listed_in_private_and_nowhere_else(tmp_path):
    evidence = memoriser(0, known=0.1, private=tmp_path / "private", **SIZES)
    found = run(evidence)
    with (tmp_path / "private" / "prompt_screen.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    training = [str(one) for one in evidence.images("training").prompts]
    assert {row["prompt"] for row in rows} >= set(training[:24])
    assert all(training[int(row["training_id"])] == row["prompt"] for row in rows)
    pulls = [float(row["pull"]) for row in rows]
    assert pulls == sorted(pulls, reverse=True)
    assert rows[0]["training_images"] == "1"
    assert not any(prompt in repr(found) for prompt in training)
    assert f"{len(rows)} prompts are listed" in named(found)["flagged_prompt_rate"].note


def test_without_a_private_folder_nothing_is_written_and_it_says_so():
    note = named(run(memoriser(0, known=0.1, **SIZES)))["flagged_prompt_rate"].note
    assert "not listed: this run has no private folder" in note


def test_a_folder_that_cannot_be_written_is_an_error_of_the_store(tmp_path):
    (tmp_path / "private").write_text("a file")
    with pytest.raises(StoreError, match="could not be written"):
        run(memoriser(0, known=0.1, private=tmp_path / "private", **SIZES))


def test_prompts_that_differ_by_themselves_are_invalid():
    found = run(exact_law(0, other_words=True, **SIZES))
    assert isinstance(found, Invalid)
    assert "by their words alone" in found.reason


def test_a_prompt_of_both_sets_is_no_control_and_a_repeated_one_counts_once():
    evidence = exact_law(0, **SIZES)
    training = [str(one) for one in evidence.images("training").prompts]
    holdout = [str(one) for one in evidence.images("holdout").prompts]
    shared = [f"  {one.upper()} " for one in training[:20]]
    changed = with_captions(evidence, "holdout", shared + holdout[20:])
    changed = with_captions(changed, "training", training[:200] + training[:40])
    seen = counts(run(changed))
    assert seen["different training prompts"] == 200
    assert seen["holdout prompts that are training prompts, left out"] == 20
    assert seen["different holdout prompts that are none of them"] == 220


def test_captions_that_are_all_training_captions_are_not_applicable():
    evidence = exact_law(0, **SIZES)
    training = [str(one) for one in evidence.images("training").prompts]
    found = run(with_captions(evidence, "holdout", training))
    assert isinstance(found, NotApplicable)
    assert "0 of the holdout (240 more are training prompts too)" in found.reason


@pytest.mark.parametrize("captions", [None, [" "] * 240])
def test_without_captions_it_does_not_apply(captions):
    found = run(with_captions(exact_law(0, **SIZES), "training", captions))
    assert isinstance(found, NotApplicable)
    assert "column 'prompt'" in found.reason
