"""What a user may set after ``ldm-eval train -o``. Pure Python: listing the options needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, TypeVar, cast, get_args

from ldm_eval.api import Prediction, Scalar
from ldm_eval.errors import ConfigError, did_you_mean

__all__ = [
    "AutoencoderOptions",
    "LoopOptions",
    "TrainingOptions",
    "option_help",
    "parse_autoencoder_options",
    "parse_options",
]

_O = TypeVar("_O", bound="LoopOptions")


def _option(
    default: Scalar,
    help_text: str,
    *,
    within: tuple[float, float] | None = None,
    among: tuple[str, ...] = (),
    shapes_weights: bool = True,
) -> Any:
    """A setting: its default, one line of help, and the numbers or words it may be."""
    metadata = {"help": help_text, "within": within, "among": among, "shapes_weights": shapes_weights}
    return field(default=default, metadata=metadata)


def whole_numbers(name: str, text: str) -> tuple[int, ...]:
    """``"1,2,2"`` -> ``(1, 2, 2)``. Raises ConfigError when it is not a list of whole numbers."""
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise ConfigError(f"Option '{name}' is a list of whole numbers such as 1,2,2; found '{text}'.") from error


@dataclass(frozen=True, slots=True)
class LoopOptions:
    """What every training here can be told: the optimiser, the average, what is written and how often."""

    ema_decay: float = _option(
        0.999, "decay of the averaged weights, which are the ones that ship", within=(0.0, 0.999999)
    )
    warmup: int = _option(100, "steps over which the learning rate rises", within=(0, 1_000_000))
    weight_decay: float = _option(0.0, "AdamW weight decay", within=(0.0, 1.0))
    clip: float = _option(1.0, "largest gradient norm", within=(1e-6, 1e6))
    precision: str = _option(
        "auto",
        "arithmetic of the training: float32, bfloat16 (autocast), or auto: bfloat16 on a GPU that has it",
        among=("auto", "float32", "bfloat16"),
        shapes_weights=False,
    )
    weights: str = _option(
        "float32",
        "type the weights are stored in: float32 or float16",
        among=("float32", "float16"),
        shapes_weights=False,
    )
    licence: str = _option("", "licence of the weights, written into the checkpoint", shapes_weights=False)
    evaluate_every: int = _option(500, "steps between held-out losses", within=(1, 10**9), shapes_weights=False)
    save_every: int = _option(
        500, "steps between training states (and loss curves) on disk", within=(1, 10**9), shapes_weights=False
    )
    preview_every: int = _option(
        1000, "steps between grids of images in <output>.previews (0: none)", within=(0, 10**9), shapes_weights=False
    )
    curves: bool = _option(True, "draw the losses beside the checkpoint, as CSV and PNG", shapes_weights=False)

    def shaping_weights(self) -> dict[str, Scalar]:
        """The options that change what is learned; a resumed training must have them equal."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.metadata["shapes_weights"]}


@dataclass(frozen=True, slots=True)
class TrainingOptions(LoopOptions):
    """Settings of the diffusion trainer beside those every trainer has. ``multipliers`` is e.g. ``"1,2,2"``."""

    autoencoder: str = _option(
        "", "autoencoder file of a latent model, from --trainer autoencoder (default: pixels)", shapes_weights=False
    )
    channels: int = _option(32, "feature channels at full resolution", within=(4, 1024))
    multipliers: str = _option("1,2", "channel multiplier of each resolution level, e.g. 1,2,2")
    blocks: int = _option(2, "residual blocks per level", within=(1, 8))
    attention: int = _option(1, "number of lowest-resolution levels with self-attention (0: none)", within=(0, 6))
    timesteps: int = _option(1000, "noise levels of the schedule", within=(2, 100_000))
    schedule: str = _option("linear", "noise schedule: linear, cosine, scaled-linear or zero-terminal-snr")
    prediction: str = _option(
        "epsilon", "what the network predicts: epsilon, x0 or v", among=get_args(Prediction), shapes_weights=False
    )
    labels: bool = _option(False, "condition on the class labels of the data")
    label_dropout: float = _option(
        0.1, "share of labels hidden in training, for classifier-free guidance", within=(0.0, 1.0)
    )
    sampler: str = _option(
        "ddim", "default sampler written into the checkpoint, see docs/diffusion.md", shapes_weights=False
    )
    sampling_steps: int = _option(
        50, "default sampling steps written into the checkpoint", within=(1, 100_000), shapes_weights=False
    )

    @property
    def multiplier_values(self) -> tuple[int, ...]:
        """``multipliers`` as numbers. Raises ConfigError when it is not a list of them."""
        return whole_numbers("multipliers", self.multipliers)

    @property
    def predicted(self) -> Prediction:
        """``prediction``, once ``parse_options`` has checked it."""
        return cast(Prediction, self.prediction)

    def shaping_weights(self) -> dict[str, Scalar]:
        """The options that change what is learned.

        ``prediction`` is among them where it is not epsilon: files from before there was a choice stay comparable.
        """
        shaping = LoopOptions.shaping_weights(self)
        return shaping if self.prediction == "epsilon" else {**shaping, "prediction": self.prediction}


@dataclass(frozen=True, slots=True)
class AutoencoderOptions(LoopOptions):
    """Settings of the autoencoder's trainer beside those every trainer has."""

    channels: int = _option(32, "feature channels at full resolution", within=(4, 1024))
    multipliers: str = _option("1,2", "channel multiplier of each resolution level; the last holds for those below")
    blocks: int = _option(1, "residual blocks per level", within=(1, 8))
    latent_channels: int = _option(4, "channels of the latent", within=(1, 64))
    downsampling: int = _option(4, "side of an image over side of its latent: 1, 2, 4, 8, 16 or 32", within=(1, 32))
    kl: float = _option(
        1e-5, "weight of the KL divergence, in nats per pixel value of an image, beside the error", within=(0.0, 1e6)
    )
    reconstruction: str = _option(
        "l1", "error per pixel value (range -1 to 1): l1 (absolute) or mse (squared)", among=("l1", "mse")
    )

    @property
    def multiplier_values(self) -> tuple[int, ...]:
        """One multiplier per resolution level. Raises ConfigError when they do not fit ``downsampling``."""
        given = whole_numbers("multipliers", self.multipliers)
        levels = self.downsampling.bit_length()
        if self.downsampling != 1 << (levels - 1):
            raise ConfigError(f"Option 'downsampling' is 1, 2, 4, 8, 16 or 32; found {self.downsampling}.")
        if len(given) > levels:
            raise ConfigError(
                f"{len(given)} multipliers ({self.multipliers}) were given; a downsampling of {self.downsampling} has "
                f"{levels} levels. Give at most that many."
            )
        return (*given, *(given[-1:] * (levels - len(given))))


def option_help(options: type[LoopOptions] = TrainingOptions) -> dict[str, str]:
    """Option name -> one line of help with its default; the trainer's own options first."""
    own = [f for f in fields(options) if f.name not in LoopOptions.__dataclass_fields__]
    listed = [*own, *fields(LoopOptions)]
    return {f.name: f"{f.metadata['help']} (default {f.default!r})" for f in listed}


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


def _parse(options: type[_O], given: Mapping[str, Scalar], trainer: str) -> _O:
    defaults: dict[str, Scalar] = asdict(options())
    for name in given:
        if name not in defaults:
            known = ", ".join(sorted(defaults))
            raise ConfigError(
                f"The {trainer} trainer has no option '{name}'.{did_you_mean(name, defaults)} Its options: {known}."
            )
    values: dict[str, Any] = {name: _coerce(name, value, defaults[name]) for name, value in given.items()}
    parsed = options(**values)
    for f in fields(options):
        _check(f.name, getattr(parsed, f.name), f.metadata["within"], f.metadata["among"])
    return parsed


def _check(name: str, value: Any, within: tuple[float, float] | None, among: tuple[str, ...]) -> None:
    if within is not None and not within[0] <= value <= within[1]:  # also refuses NaN
        raise ConfigError(f"Training option '{name}' must lie between {within[0]:g} and {within[1]:g}; found {value}.")
    if among and value not in among:
        listed = f"{', '.join(among[:-1])} or {among[-1]}"
        raise ConfigError(f"Training option '{name}' is {listed}; found '{value}'.{did_you_mean(value, among)}")


def parse_options(given: Mapping[str, Scalar]) -> TrainingOptions:
    """Check and complete the options of a request to the diffusion trainer.

    Raises:
        ConfigError: for an unknown option (with the closest known one), a wrong type or a value out of range.
    """
    options = _parse(TrainingOptions, given, "native")
    if options.sampling_steps > options.timesteps:
        raise ConfigError(
            f"The default of {options.sampling_steps} sampling steps exceeds the schedule's {options.timesteps} "
            "timesteps. Set option 'sampling_steps' to that or less."
        )
    return options


def parse_autoencoder_options(given: Mapping[str, Scalar]) -> AutoencoderOptions:
    """Check and complete the options of a request to the autoencoder's trainer. Raises ConfigError likewise."""
    return _parse(AutoencoderOptions, given, "autoencoder")
