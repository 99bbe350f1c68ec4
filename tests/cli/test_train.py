from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from ldm_eval.api import (
    DataRef,
    DatasetSpec,
    ImageSet,
    ModelIdentity,
    TrainerSpec,
    TrainProgress,
    TrainRequest,
    TrainResult,
)
from ldm_eval.cli.app import app
from ldm_eval.errors import ConfigError
from ldm_eval.hooks.catalogue import Catalogue
from ldm_eval.run.training import TrainSettings, parse_options


def _load(ref: DataRef, split: str) -> ImageSet:
    pixels = np.zeros((3 if split == "train" else 2, 1, 4, 4), np.uint8)
    return ImageSet("toy", split, pixels, tuple(map(str, range(len(pixels)))), "0" * 64)


class _Trainer:
    def __init__(self) -> None:
        self.request: TrainRequest | None = None

    def train(self, request: TrainRequest, report: Callable[[TrainProgress], None]) -> TrainResult:
        self.request = request
        for step in (10, 20, 30, 40):
            report(TrainProgress(step, request.steps, 1 / step, 0.5 if step == 40 else None))
        return TrainResult(request.output, ModelIdentity("m", "toy", "0" * 64, "a toy"), 0.025, 0.5)


@pytest.fixture
def trainer(monkeypatch: pytest.MonkeyPatch) -> _Trainer:
    made = _Trainer()
    catalogue = Catalogue()
    dataset = DatasetSpec(
        "toy", "Toy.", "CC0-1.0", ("train", "kept"), lambda ref: float(ref.name_and_split[0] == "toy"), _load, "kept"
    )
    catalogue._specs[DatasetSpec]["toy"] = dataset
    catalogue._specs[TrainerSpec]["native"] = TrainerSpec("native", "Toy.", lambda: made)
    monkeypatch.setattr(Catalogue, "discover", classmethod(lambda cls, *_: catalogue))
    return made


def test_training_takes_the_kept_split_as_holdout_and_prints_the_checkpoint(trainer: _Trainer) -> None:
    arguments = ["train", "--data", "toy", "--output", "m.pt", "--steps", "40", "--device", "cpu", "-o", "channels=8"]
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0
    assert done.stdout == "m.pt\n"
    assert "step 40 of 40: loss 0.0250, held-out 0.5000" in done.stderr
    request = trainer.request
    assert request is not None
    assert (request.data_ref, request.holdout_ref, request.steps) == ("toy", "toy:kept", 40)
    assert request.holdout is not None
    assert (len(request.data), len(request.holdout)) == (3, 2)
    assert request.options == {"channels": "8"}
    assert request.resume


def test_training_on_the_kept_split_keeps_nothing_aside(trainer: _Trainer) -> None:
    arguments = ["train", "--data", "toy:kept", "--output", "m.pt", "--device", "cpu"]
    CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert trainer.request is not None
    assert trainer.request.holdout is None
    assert trainer.request.holdout_ref == ""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "--data"),
        (["--data", "toy"], "--output"),
        (["--data", "toy", "--output", "m.pt", "--steps", "0"], "--steps"),
        (["--data", "toy", "--output", "m.pt", "--learning-rate", "nan"], "--learning-rate"),
        (["--data", "toy", "--output", "m.pt", "--seed", "-1"], "--seed"),
        (["--data", "toy", "--output", "m.pt", "--trainer", "nativ"], "Did you mean 'native'?"),
        (["--data", "toy", "--output", "m.pt", "-o", "channels"], "NAME=VALUE"),
    ],
)
def test_settings_that_cannot_train_are_refused_before_anything_is_read(
    arguments: list[str], words: str, trainer: _Trainer
) -> None:
    done = CliRunner().invoke(app, ["train", *arguments])
    assert isinstance(done.exception, ConfigError)
    assert words in str(done.exception)
    assert trainer.request is None


def test_trainer_options_keep_what_follows_the_first_equals_sign() -> None:
    assert parse_options(["a-b= x=y "]) == {"a_b": "x=y"}
    with pytest.raises(ConfigError, match="twice"):
        parse_options(["a=1", "a=2"])


def test_settings_have_defaults_for_all_but_data_and_output(tmp_path: Path) -> None:
    settings = TrainSettings(data="toy", output=str(tmp_path / "m.pt"))
    assert (settings.trainer, settings.resume, settings.horizontal_flip) == ("native", True, False)
