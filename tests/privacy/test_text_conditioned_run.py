"""The text-conditioned checks as a user runs them: captions in a CSV, a text-to-image phantom by reference."""

from pathlib import Path

import numpy as np
import pytest

from ldm_eval.api import Measured
from ldm_eval.errors import DataError
from ldm_eval.evaluate import evaluate
from ldm_eval.store.scores import load_scores

CHECKS = ["privacy/caption_likelihood", "privacy/prompt_screen"]
COUNT = 120


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    words = ("red", "blue", "round", "small", "old", "new")
    for seed, name in enumerate(("train", "holdout", "bare")):
        rng = np.random.default_rng(seed)
        np.savez(tmp_path / f"{name}.npz", rng.integers(60, 200, (COUNT, 8, 8, 1), dtype=np.uint8))
        rows = [f"{row},{' '.join(rng.choice(words, 2))} {rng.integers(10**6)}" for row in range(COUNT)]
        if name != "bare":
            (tmp_path / f"{name}.csv").write_text("\n".join(["id,prompt", *rows]))
    return tmp_path


def outcomes(folder: Path, model: str, name: str, holdout: str = "holdout"):
    done = evaluate(
        model,
        CHECKS,
        data=str(folder / "train.npz"),
        holdout=str(folder / f"{holdout}.npz"),
        samples=4,
        threads=1,
        output=str(folder / name),
    )
    return {record.check: record.outcome for record in done.results.checks}


def test_a_model_that_knows_pairs_by_heart_is_found_out_from_the_command_line_down(pairs: Path) -> None:
    found = outcomes(pairs, f"phantom:captioned?data={pairs}/train.npz", "run")
    lows = {}
    for outcome in found.values():
        assert isinstance(outcome, Measured), outcome
        lows |= {one.name: one.interval.low for one in outcome.measurements}
    assert lows["caption_likelihood_auc"] > 0.8
    assert lows["flagged_prompt_excess"] > 0.8
    listed = (pairs / "run" / "private" / "privacy-prompt_screen" / "prompt_screen.csv").read_text()
    assert len(listed.splitlines()) == COUNT + 1
    prompts = [row.partition(",")[2] for row in (pairs / "train.csv").read_text().splitlines()[1:]]
    card = (pairs / "run" / "MODEL_CARD.md").read_text()
    assert not any(prompt in card for prompt in prompts)
    own, shuffled = (
        load_scores(next((pairs / "run" / "private" / "scores").glob(f"{name}-training-*.npz")))
        for name in ("caption_losses", "shuffled_caption_losses")
    )
    assert own.ids == shuffled.ids
    assert (shuffled.values[:, 0] > own.values[:, 0]).mean() > 0.95  # the very noises, and the caption of another


def test_without_text_or_captions_the_reason_is_given(pairs: Path) -> None:
    for model, holdout, reason in (
        ("phantom:gaussian?shape=1x8x8", "holdout", "this one takes no text"),
        ("phantom:captioned?shape=1x8x8", "bare", "needs the prompt of each of the holdout images"),
    ):
        with pytest.raises(DataError, match=reason) as refused:
            outcomes(pairs, model, "run", holdout)
        assert all(check in str(refused.value) for check in CHECKS)
