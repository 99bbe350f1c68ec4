from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ldm_eval_images.folder import read_folder
from PIL import Image
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

Call = Callable[..., "subprocess.CompletedProcess[str]"]


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


def _file(tmp_path: Path, text: str) -> str:
    (tmp_path / "train.toml").write_text(text)
    return str(tmp_path / "train.toml")


FILE = """
data = "toy"
output = "m.pt"
device = "cpu"
batch-size = 7
learning_rate = 1
horizontal-flip = true
[options]
channels = 8
multipliers = [1, 2]
labels = true
save-every = 5
"""


def test_settings_and_the_trainers_own_may_stand_in_a_file(tmp_path: Path, trainer: _Trainer) -> None:
    done = CliRunner().invoke(app, ["train", "--config", _file(tmp_path, FILE)], catch_exceptions=False)
    assert done.stdout == "m.pt\n"
    request = trainer.request
    assert request is not None
    assert (request.data_ref, request.holdout_ref, request.batch_size, request.seed) == ("toy", "toy:kept", 7, 0)
    assert (request.learning_rate, request.horizontal_flip, request.resume) == (1.0, True, True)
    assert request.output == Path("m.pt")
    assert request.options == {"channels": 8, "multipliers": "1,2", "labels": True, "save_every": 5}


def test_what_is_typed_wins_over_the_file(tmp_path: Path, trainer: _Trainer) -> None:
    typed = ["--batch-size", "9", "--no-horizontal-flip", "--no-resume", "--steps", "30", "-o", "channels=16"]
    arguments = ["train", "--config", _file(tmp_path, "steps = 20\nresume = true\n" + FILE), *typed]
    CliRunner().invoke(app, arguments, catch_exceptions=False)
    request = trainer.request
    assert request is not None
    assert (request.batch_size, request.horizontal_flip, request.resume, request.steps) == (9, False, False, 30)
    assert request.options["channels"] == "16"
    assert request.options["multipliers"] == "1,2"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("batchsize = 3", "no setting 'batchsize' (found in {file}). Did you mean 'batch_size'?"),
        ("channels = 3", "Settings of the trainer itself stand in a table"),
        ('steps = "many"', "'steps' must be a whole number; found 'many' in {file}"),
        ("steps = 1.5", "'steps' must be a whole number"),
        ("learning-rate = [1]", "'learning_rate' must be a number"),
        ('resume = "perhaps"', "'resume' must be true or false"),
        ("options = 3", "must be a table"),
        ("data = ['toy']", "'data' must be text; found ['toy'] in {file}"),
        ("output = true", "'output' must be text; found True in {file}"),
        ("batch-size = 3\nbatch_size = 4", "'batch_size' was given twice in {file}"),
        ("[options]\nsave-every = 3\nsave_every = 4", "'save_every' was given twice in {file}"),
        ("[options]\nchannels = {a = 1}", "Option 'channels' must be text"),
        ("[options]\nday = 2026-01-01", "Option 'day' must be text"),
        ("steps = ", "is not valid TOML"),
        ("data = 'toy'", "--output"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_clear_error(
    text: str, words: str, tmp_path: Path, trainer: _Trainer
) -> None:
    file = _file(tmp_path, text)
    done = CliRunner().invoke(app, ["train", "--config", file])
    assert isinstance(done.exception, ConfigError)
    assert words.replace("{file}", file) in str(done.exception)
    assert trainer.request is None


def test_the_help_says_where_the_trainers_own_settings_stand() -> None:
    # Words in square brackets are markup to what draws the help, and vanish.
    shown = CliRunner().invoke(app, ["train", "--help"], env={"COLUMNS": "300"}).output
    assert "the trainer's own stand in a table 'options'" in " ".join(shown.split())


def test_a_file_that_is_not_there_says_so(tmp_path: Path, trainer: _Trainer) -> None:
    done = CliRunner().invoke(app, ["train", "--config", str(tmp_path / "none.toml")])
    assert isinstance(done.exception, ConfigError)
    assert "none.toml" in str(done.exception)


def test_a_model_trained_on_16_bits_is_evaluated_against_the_same_files(tmp_path: Path, call: Call) -> None:
    rng = np.random.default_rng(0)
    for split in ("train", "kept"):
        (tmp_path / split).mkdir()
        for index in range(24):
            pixels = rng.integers(0, 65536, (8, 8), dtype=np.uint16)
            Image.fromarray(pixels).save(tmp_path / split / f"{index:02d}.png")
    (tmp_path / "train.toml").write_text(
        'data = "train"\nholdout = "kept"\noutput = "m.safetensors"\nsteps = 3\nbatch-size = 8\ndevice = "cpu"\n'
        "[options]\nchannels = 8\nmultipliers = [1]\nblocks = 1\nattention = 0\ntimesteps = 50\nsampling-steps = 2\n"
    )
    trained = call("train", "--config", "train.toml")
    assert trained.returncode == 0, trained.stderr
    done = call(
        *("run", "--model", "m.safetensors", "--suite", "privacy/near_copies"),
        *("--samples", "50", "--device", "cpu", "--output", "out", "--cache-dir", "cache"),
    )
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    digests = {record["role"]: record["digest"] for record in results["data"]}
    assert digests["training"] == read_folder(tmp_path / "train").digest
    assert digests["holdout"] == read_folder(tmp_path / "kept").digest
    assert [outcome["status"] for outcome in results["outcomes"]] == ["measured"], results["outcomes"]


def test_trainer_options_keep_what_follows_the_first_equals_sign() -> None:
    assert parse_options(["a-b= x=y "]) == {"a_b": "x=y"}
    with pytest.raises(ConfigError, match="twice"):
        parse_options(["a=1", "a=2"])


def test_settings_have_defaults_for_all_but_data_and_output(tmp_path: Path) -> None:
    settings = TrainSettings(data="toy", output=str(tmp_path / "m.pt"))
    assert (settings.trainer, settings.resume, settings.horizontal_flip) == ("native", True, False)
