from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ldm_eval.cli import main


@pytest.fixture
def arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A white-box run of 60 training and 50 holdout images of 8x8, from an empty folder."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for name, count in (("training", 60), ("holdout", 50)):
        np.savez(tmp_path / f"{name}.npz", arr_0=rng.integers(0, 256, (count, 8, 8, 1), dtype=np.uint8))
    model = "phantom:gaussian?shape=1x8x8&mean=0&std=0.25"
    real = ["--data", "training.npz", "--holdout", "holdout.npz"]
    return ["run", "--model", model, *real, "--suite", "privacy/membership_loss", "--samples", "10", "--dry-run"]


def leave_with(arguments: list[str]) -> int:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    return int(caught.value.code or 0)


def test_a_dry_run_states_what_each_score_costs_and_writes_nothing(arguments, tmp_path, capsys) -> None:
    assert leave_with(arguments) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "score denoising_loss 5,280: 48 for each of 50 holdout and 60 training images" in text
    assert not (tmp_path / "reports").exists()


def test_its_document_names_the_calls_of_every_score(arguments, capsys) -> None:
    assert leave_with([*arguments, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["scoring_calls"] == 48 * 110
    assert {(one["role"], one["images"]) for one in document["scores"]} == {("training", 60), ("holdout", 50)}
