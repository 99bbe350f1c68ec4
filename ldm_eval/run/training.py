"""Training a model: find the data, its holdout and the trainer, and let it run.

The command line reads ``TrainSettings`` for its help, so what is heavy is imported inside the functions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

from ldm_eval.api import ImageSet, Scalar, TrainerSpec, TrainProgress, TrainRequest, TrainResult
from ldm_eval.errors import ConfigError, did_you_mean
from ldm_eval.run.config import convert_setting, read_toml
from ldm_eval.run.progress import Progress

if TYPE_CHECKING:
    from ldm_eval.hooks.catalogue import Catalogue

__all__ = ["TrainSettings", "parse_options", "resolve_settings", "train_model"]

NOTES = 10
"""How often a training says its losses, evenly spread over its steps."""


def _setting(default: Any, text: str) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """What ``ldm-eval train`` can be told; names are the long options with ``_`` for ``-``."""

    data: str = _setting("", "Images to learn from: folder, zip, npz, or NAME[:SPLIT] of a named dataset.")
    output: str = _setting("", "Checkpoint to write, e.g. model.pt.")
    holdout: str = _setting("", "Images kept aside (default: the holdout split of a named dataset, else none).")
    trainer: str = _setting("native", "Trainer; `ldm-eval list trainers` shows them and their options.")
    steps: int = _setting(5000, "Optimiser steps in total, also when resumed.")
    batch_size: int = _setting(64, "Images per step.")
    learning_rate: float = _setting(3e-4, "Peak learning rate, after warm-up.")
    seed: int = _setting(0, "Seed of initialisation, order and noise.")
    device: str = _setting("auto", "cpu, cuda, cuda:N, or auto.")
    resume: bool = _setting(True, "Go on from the training state beside the output when there is one.")
    horizontal_flip: bool = _setting(False, "Show mirrored images too, with probability one half.")
    canaries: int = _setting(
        0, "Training images that a fair coin includes or leaves out, for an audit of the leakage (default: none)."
    )
    options: Mapping[str, Scalar] = field(default_factory=dict, metadata={"help": "Settings of the trainer itself."})

    def __post_init__(self) -> None:
        """Refuse settings that no trainer can use.

        Raises:
            ConfigError: naming the option, what was found and what to do.
        """
        if not self.data:
            raise ConfigError("No images to learn from were named: use --data FOLDER or --data mnist.")
        if not self.output:
            raise ConfigError("No checkpoint to write was named: use --output model.pt.")
        for name in ("steps", "batch_size", "learning_rate"):
            if not 0 < getattr(self, name) < float("inf"):
                option = "--" + name.replace("_", "-")
                raise ConfigError(f"{option} must be more than zero; found {getattr(self, name)}.")
        if self.canaries < 0:
            raise ConfigError(f"--canaries must be a positive number; found {self.canaries}.")
        if not 0 <= self.seed < 2**63:
            raise ConfigError(f"--seed must be 0 to 2^63 - 1; found {self.seed}.")


def parse_options(texts: Iterable[str]) -> dict[str, Scalar]:
    """``["channels=32"]`` -> ``{"channels": "32"}``; the trainer reads each value as the type it wants.

    Raises:
        ConfigError: for a text without a name or without ``=``, or a name given twice.
    """
    options: dict[str, Scalar] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        name = name.strip().replace("-", "_")
        if not (name and equals):
            raise ConfigError(f"-o {text}: a trainer's option is written NAME=VALUE, e.g. -o channels=32.")
        if name in options:
            raise ConfigError(f"-o {text}: '{name}' was given twice.")
        options[name] = value.strip()
    return options


def resolve_settings(
    given: Mapping[str, Any], options: Mapping[str, Scalar], file: Path | None = None
) -> TrainSettings:
    """Merge what was given with a TOML file; what was given wins, option by option.

    Args:
        given: Setting -> value; settings left out were not given.
        options: Settings of the trainer itself that were given.
        file: Its top-level keys are settings (``-`` and ``_`` are the same), its table ``[options]`` holds those of the
            trainer. Paths in it count from where the command is started, as in the file of a run.

    Raises:
        ConfigError: for an unknown setting, a value of the wrong type, a file that cannot be read, or settings that no
            trainer can use.
    """
    tables = read_toml(file) if file else {}
    types = get_type_hints(TrainSettings)
    known = [f.name for f in fields(TrainSettings) if f.name != "options"]
    values: dict[str, Any] = {"options": {**_options_table(tables.pop("options", {}), file), **options}}
    for name, raw in _one_spelling(tables, file).items():
        if name not in known:
            raise ConfigError(
                f"There is no setting '{name}' (found in {file}).{did_you_mean(name, known)} Settings of the trainer "
                "itself stand in a table [options]."
            )
        values[name] = convert_setting(name, raw, types[name], str(file))
    return TrainSettings(**{**values, **given})


def _options_table(table: Any, file: Path | None) -> dict[str, Scalar]:
    """``[options]`` of a file; a list such as ``[1, 2, 2]`` is the text ``1,2,2`` of the command line."""
    if not isinstance(table, Mapping):
        raise ConfigError(
            f"'options' must be a table, [options], of the trainer's settings; found {table!r} in {file}."
        )
    options: dict[str, Scalar] = {}
    for name, raw in _one_spelling(table, file).items():
        value = ",".join(map(str, raw)) if isinstance(raw, list) else raw
        if not isinstance(value, str | int | float | bool):
            raise ConfigError(f"Option '{name}' must be text, a number, true or false; found {raw!r} in {file}.")
        options[name] = value
    return options


def _one_spelling(table: Mapping[str, Any], file: Path | None) -> dict[str, Any]:
    """``table`` with ``_`` for ``-`` in its names. Raises ConfigError when two of them then are one."""
    values: dict[str, Any] = {}
    for raw_name, raw in table.items():
        name = raw_name.replace("-", "_")
        if name in values:
            raise ConfigError(f"'{name}' was given twice in {file}, once with '-' and once with '_'. Keep one.")
        values[name] = raw
    return values


def train_model(
    settings: TrainSettings,
    catalogue: Catalogue,
    progress: Progress,
    watch: Callable[[TrainProgress], None] | None = None,
) -> TrainResult:
    """Train and write the checkpoint.

    Args:
        settings: What was asked for.
        catalogue: Where trainers and datasets are found.
        progress: Receives one stage, "train", in steps, and the losses now and then.
        watch: Receives every report of the trainer.

    Raises:
        ConfigError, DataError, ModelError, StoreError: naming what was asked, what was found and what to do.
    """
    from ldm_eval.run.canaries import flip_coins
    from ldm_eval.run.data import load_images
    from ldm_eval.run.models import pick_device

    spec = _trainer(settings.trainer, catalogue)
    data = load_images(settings.data, catalogue, what="Training data")
    holdout_ref = settings.holdout or _kept_split(settings.data, catalogue)
    holdout = load_images(holdout_ref, catalogue, what="Holdout data") if holdout_ref else None
    digest = data.digest
    canaries = flip_coins(data, settings.canaries, settings.seed) if settings.canaries else None
    if canaries is not None:
        data = canaries.trained_on(data)
    request = TrainRequest(
        data=data,
        data_digest=digest,
        canaries=str(canaries or ""),
        data_ref=settings.data,
        holdout=holdout,
        holdout_ref=holdout_ref,
        output=Path(settings.output).expanduser(),
        steps=settings.steps,
        batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        seed=settings.seed,
        device=pick_device(settings.device),
        resume=settings.resume,
        horizontal_flip=settings.horizontal_flip,
        options=settings.options,
    )
    progress.note(_opening(settings, data, holdout))
    if canaries is not None:
        progress.note(
            f"{settings.canaries} canaries: the coin included {int(canaries.included.sum())} and left out "
            f"{int((~canaries.included).sum())}. The checkpoint remembers which."
        )
    with progress.stage("train", settings.steps):
        return spec.load().train(request, _Teller(progress, watch, settings.steps))


class _Teller:
    """Turns a trainer's reports into progress."""

    def __init__(self, progress: Progress, watch: Callable[[TrainProgress], None] | None, steps: int) -> None:
        self._progress, self._watch = progress, watch
        self._step = 0
        self._every = max(steps // NOTES, 1)

    def __call__(self, news: TrainProgress) -> None:
        """Advance to the step reported; say the losses when another tenth is done."""
        before, self._step = self._step, max(news.step, self._step)
        self._progress.advance(self._step - before)
        if self._watch:
            self._watch(news)
        if self._step // self._every > before // self._every:
            held_out = "" if news.holdout_loss is None else f", held-out {news.holdout_loss:.4f}"
            self._progress.note(f"step {news.step} of {news.steps}: loss {news.loss:.4f}{held_out}")


def _trainer(name: str, catalogue: Catalogue) -> TrainerSpec:
    from ldm_eval.hooks.catalogue import unavailable_reason

    if name not in catalogue.trainers:
        hint = did_you_mean(name, catalogue.trainers)
        raise ConfigError(f"--trainer {name}: there is no such trainer.{hint} `ldm-eval list trainers` shows them.")
    spec = catalogue.trainers[name]
    reason = unavailable_reason(spec.requires, spec.extra)
    if reason:
        raise ConfigError(f"The trainer '{name}' {reason}")
    return spec


def _kept_split(text: str, catalogue: Catalogue) -> str:
    """The reference of the half that a named dataset keeps from training; empty when there is none."""
    from ldm_eval.run.data import find_dataset

    spec, split = find_dataset(text, catalogue, what="Training data")
    trained_on = split or (spec.splits[0] if spec.splits else "")
    if not spec.holdout_split or trained_on == spec.holdout_split:
        return ""
    return f"{spec.name}:{spec.holdout_split}"


def _opening(settings: TrainSettings, data: ImageSet, holdout: ImageSet | None) -> str:
    kept = f", {len(holdout)} kept aside" if holdout is not None else ", none kept aside"
    channels, height, width = data.shape
    return f"Training on {len(data)} images of {channels}x{height}x{width} from {settings.data}{kept}."
