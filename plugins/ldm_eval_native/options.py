"""What a user may set after ``ldm-eval train -o``. Pure Python: listing the options needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, cast, get_args

from ldm_eval.api import Prediction, Scalar
from ldm_eval.errors import ConfigError, did_you_mean

__all__ = ["TrainingOptions", "option_help", "parse_options"]


def _option(default: Scalar, help_text: str, *, shapes_weights: bool = True) -> Any:
    return field(default=default, metadata={"help": help_text, "shapes_weights": shapes_weights})


@dataclass(frozen=True, slots=True)
class TrainingOptions:
    """Settings of the native trainer beside those every trainer has. ``multipliers`` is e.g. ``"1,2,2"``."""

    channels: int = _option(32, "feature channels at full resolution")
    multipliers: str = _option("1,2", "channel multiplier of each resolution level, e.g. 1,2,2")
    blocks: int = _option(2, "residual blocks per level")
    attention: int = _option(1, "number of lowest-resolution levels with self-attention (0: none)")
    timesteps: int = _option(1000, "noise levels of the schedule")
    schedule: str = _option("linear", "noise schedule: linear, cosine, scaled-linear or zero-terminal-snr")
    prediction: str = _option("epsilon", "what the network predicts: epsilon, x0 or v", shapes_weights=False)
    ema_decay: float = _option(0.999, "decay of the averaged weights, which are the ones that ship")
    warmup: int = _option(100, "steps over which the learning rate rises")
    weight_decay: float = _option(0.0, "AdamW weight decay")
    clip: float = _option(1.0, "largest gradient norm")
    labels: bool = _option(False, "condition on the class labels of the data")
    label_dropout: float = _option(0.1, "share of labels hidden in training, for classifier-free guidance")
    weights: str = _option("float32", "type the weights are stored in: float32 or float16", shapes_weights=False)
    sampler: str = _option(
        "ddim", "default sampler written into the checkpoint, see docs/diffusion.md", shapes_weights=False
    )
    sampling_steps: int = _option(50, "default sampling steps written into the checkpoint", shapes_weights=False)
    licence: str = _option("", "licence of the weights, written into the checkpoint", shapes_weights=False)
    evaluate_every: int = _option(500, "steps between held-out losses", shapes_weights=False)
    save_every: int = _option(500, "steps between training states on disk", shapes_weights=False)

    @property
    def multiplier_values(self) -> tuple[int, ...]:
        """``multipliers`` as numbers. Raises ConfigError when it is not a list of them."""
        try:
            return tuple(int(part) for part in self.multipliers.split(","))
        except ValueError as error:
            raise ConfigError(
                f"Option 'multipliers' is a list of whole numbers such as 1,2,2; found '{self.multipliers}'."
            ) from error

    @property
    def predicted(self) -> Prediction:
        """``prediction``, once ``parse_options`` has checked it."""
        return cast(Prediction, self.prediction)

    def shaping_weights(self) -> dict[str, Scalar]:
        """The options that change what is learned; a resumed training must have them equal.

        ``prediction`` is among them where it is not epsilon: files from before there was a choice stay comparable.
        """
        shaping = {f.name: getattr(self, f.name) for f in fields(self) if f.metadata["shapes_weights"]}
        return shaping if self.prediction == "epsilon" else {**shaping, "prediction": self.prediction}


def option_help() -> dict[str, str]:
    """Option name -> one line of help with its default."""
    return {f.name: f"{f.metadata['help']} (default {f.default!r})" for f in fields(TrainingOptions)}


_TRUE, _FALSE = ("true", "yes", "1"), ("false", "no", "0")


def _coerce(name: str, value: Scalar, default: Scalar) -> Scalar:
    """Read ``value`` (text from a command line, or typed from TOML) as the type of ``default``."""
    text = str(value).strip()
    try:
        if isinstance(default, bool):
            if text.lower() not in _TRUE + _FALSE:
                raise ValueError(text)
            return text.lower() in _TRUE
        if isinstance(default, int):
            return int(text)
        return float(text) if isinstance(default, float) else text
    except ValueError as error:
        kind = {bool: "true or false", int: "a whole number", float: "a number"}[type(default)]
        raise ConfigError(f"Training option '{name}' must be {kind}; found '{value}'.") from error


_RANGES: dict[str, tuple[float, float]] = {
    "channels": (4, 1024),
    "blocks": (1, 8),
    "attention": (0, 6),
    "timesteps": (2, 100_000),
    "ema_decay": (0.0, 0.999999),
    "warmup": (0, 1_000_000),
    "weight_decay": (0.0, 1.0),
    "clip": (1e-6, 1e6),
    "label_dropout": (0.0, 1.0),
    "sampling_steps": (1, 100_000),
    "evaluate_every": (1, 10**9),
    "save_every": (1, 10**9),
}


def parse_options(given: Mapping[str, Scalar]) -> TrainingOptions:
    """Check and complete the options of a training request.

    Raises:
        ConfigError: for an unknown option (with the closest known one), a wrong type or a value out of range.
    """
    defaults: dict[str, Scalar] = asdict(TrainingOptions())
    for name in given:
        if name not in defaults:
            known = ", ".join(sorted(defaults))
            raise ConfigError(
                f"The native trainer has no option '{name}'.{did_you_mean(name, defaults)} Its options: {known}."
            )
    values: dict[str, Any] = {name: _coerce(name, value, defaults[name]) for name, value in given.items()}
    options = TrainingOptions(**values)
    for name, (low, high) in _RANGES.items():
        if not low <= getattr(options, name) <= high:  # also refuses NaN
            raise ConfigError(
                f"Training option '{name}' must lie between {low:g} and {high:g}; found {getattr(options, name)}."
            )
    if options.weights not in ("float32", "float16"):
        raise ConfigError(f"Training option 'weights' is float32 or float16; found '{options.weights}'.")
    if options.prediction not in get_args(Prediction):
        raise ConfigError(
            f"Training option 'prediction' is epsilon, x0 or v; found '{options.prediction}'."
            f"{did_you_mean(options.prediction, get_args(Prediction))}"
        )
    if options.sampling_steps > options.timesteps:
        raise ConfigError(
            f"The default of {options.sampling_steps} sampling steps exceeds the schedule's {options.timesteps} "
            "timesteps. Set option 'sampling_steps' to that or less."
        )
    return options
