"""The settings of a run, and where each came from: option > ``LDM_EVAL_*`` > TOML file > default."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args, get_type_hints

from ldm_eval.api import Scalar
from ldm_eval.errors import ConfigError, did_you_mean

__all__ = [
    "ENVIRONMENT_PREFIX",
    "ResolvedConfig",
    "RunConfig",
    "Source",
    "convert_setting",
    "read_toml",
    "resolve_config",
]

ENVIRONMENT_PREFIX = "LDM_EVAL_"
Source = Literal["option", "environment", "file", "default"]


def _setting(default: Any, text: str, *, decides: bool = True) -> Any:
    """One setting; ``decides`` is False for those that cannot change a number."""
    metadata = {"help": text, "decides": decides}
    if isinstance(default, dict):
        return field(default_factory=dict, metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True)
class RunConfig:
    """Everything that can be set. Names are the long options with ``_`` for ``-``; empty or 0 means: decide for me."""

    model: str = _setting("", "Model: a checkpoint, a folder, zip or npz of finished images, or 'demo'.")
    suite: tuple[str, ...] = _setting(("all",), "Suites or check ids, separated by commas.")
    data: str = _setting("", "Training images: folder, zip, npz, or NAME[:SPLIT] of a named dataset.")
    holdout: str = _setting("", "Real images from the same source that the model never saw.")
    reference: str = _setting("", "Real images that distances are measured to (default: the holdout, else the data).")
    samples: int = _setting(0, "Images to sample (default: 1000, or all there are when the model is finished images).")
    sampler: str = _setting("", "Sampler, e.g. ddim, ddpm, heun or dpm-solver++-karras (default: the model's own).")
    steps: int = _setting(0, "Sampling steps (default: the model's own).")
    guidance: float = _setting(1.0, "Classifier-free guidance scale; 1 switches it off.")
    classes: str = _setting(
        "", "Class of each sample: balanced, drawn, training, or numbers such as 0,3,7 in turn (default: no class)."
    )
    seed: int = _setting(0, "Seed of the run; sample i depends on (seed, i) and the model alone.")
    device: str = _setting("auto", "cpu, cuda, cuda:N, or auto.")
    batch_size: int = _setting(32, "Images per network call; at most 64, the block size.")
    backend: str = _setting("", "Backend to load the model with (default: the one that recognises it).")
    scores: str = _setting("", "Folder private/scores of an earlier run: scores of single images to take, not compute.")
    reference_statistics: str = _setting(
        "", "File with mu and sigma of the features of real images (npz, as FID tools write it)."
    )
    extractor: tuple[str, ...] = _setting(
        (), "Feature extractors, separated by commas; every check uses the first (default: efficientnet-lite0)."
    )
    extractor_weights: tuple[str, ...] = _setting(
        (), "Weights file of the first extractor, or NAME=FILE, for weights that are not installed."
    )
    attribute: str = _setting("", "Group column to look at (default: the only one the data has).")
    attribute_classifier: str = _setting("", "Classifier that tells groups (default: probe, fitted on the data).")
    policy: str = _setting("", "Gate policy (TOML) to judge the results by.", decides=False)
    calibration: str = _setting(
        "", "Calibration certificate of the instruments, from `ldm-eval calibrate`.", decides=False
    )
    declared: str = _setting("", "card.toml with what the author declares about the model.", decides=False)
    renderer: tuple[str, ...] = _setting((), "Further formats of the report, separated by commas.", decides=False)
    output: str = _setting("", "Folder for the results (default: reports/<model>-<date and time>).", decides=False)
    cache_dir: str = _setting("", "Cache of features (default: ~/.cache/ldm-eval).", decides=False)
    offline: bool = _setting(False, "Never use the network.", decides=False)
    resume: bool = _setting(True, "Go on where an interrupted run of the same settings stopped.", decides=False)
    limit: int = _setting(0, "Take only the first N of every image set; marks the results partial.")
    threads: int = _setting(0, "CPU threads (default: the cores this process may use, at most OMP_NUM_THREADS).")
    check_timeout: float = _setting(
        900.0, "Seconds after which a check that has not answered is stopped.", decides=False
    )
    disable_plugin: tuple[str, ...] = _setting((), "Plugins to leave out, separated by commas.")
    plugin: tuple[str, ...] = _setting((), "Further plugin modules (dotted paths), separated by commas.")
    dry_run: bool = _setting(False, "Print the plan and stop.", decides=False)
    json: bool = _setting(False, "Results as JSON on stdout; everything else on stderr.", decides=False)
    debug: bool = _setting(False, "Show tracebacks.", decides=False)
    checks: Mapping[str, Mapping[str, Scalar]] = _setting({}, 'Settings of single checks: [checks."family/name"].')

    def __post_init__(self) -> None:
        """Refuse values out of range.

        Raises:
            ConfigError: naming the setting, what was found and what is allowed.
        """
        _require(self.samples >= 0, "samples", self.samples, "a positive number")
        _require(self.steps >= 0, "steps", self.steps, "a positive number")
        _require(self.limit >= 0, "limit", self.limit, "a positive number")
        _require(self.threads >= 0, "threads", self.threads, "a positive number")
        _require(1 <= self.batch_size <= 64, "batch_size", self.batch_size, "1 to 64")
        _require(0 <= self.seed < 2**63, "seed", self.seed, "0 to 2^63 - 1")
        _require(0 <= self.guidance < math.inf, "guidance", self.guidance, "zero or more, and finite")
        _require(
            0 < self.check_timeout <= 1e9, "check_timeout", self.check_timeout, "more than 0 and at most 1e9 seconds"
        )
        _require(bool(self.suite), "suite", self.suite, "at least one suite, e.g. all")

    def deciding(self) -> dict[str, Any]:
        """The settings that can change a number; two runs may share a folder only when these are equal."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.metadata["decides"]}


@dataclass(frozen=True, slots=True)
class ResolvedConfig:
    """A configuration with the source of every setting."""

    config: RunConfig
    sources: Mapping[str, Source]


def resolve_config(
    options: Mapping[str, Any], environment: Mapping[str, str], file: Path | None = None
) -> ResolvedConfig:
    """Merge options, environment and file.

    Args:
        options: Setting -> value as given by the caller; settings left out were not given.
        environment: The process environment; variables ``LDM_EVAL_<SETTING>`` are read.
        file: TOML file whose top-level keys are settings (``-`` and ``_`` are the same).

    Raises:
        ConfigError: for an unknown setting, a value of the wrong type, or a file that cannot be read.
    """
    known = {f.name: f for f in fields(RunConfig)}
    types = get_type_hints(RunConfig)
    values: dict[str, Any] = {}
    sources: dict[str, Source] = dict.fromkeys(known, "default")
    layers: list[tuple[Source, Mapping[str, Any]]] = [
        ("file", read_toml(file) if file else {}),
        ("environment", _from_environment(environment, known)),
        ("option", options),
    ]
    for source, layer in layers:
        for raw_name, raw in layer.items():
            name = raw_name.replace("-", "_")
            if name not in known:
                hint = did_you_mean(name, known)
                raise ConfigError(f"There is no setting '{raw_name}' (found in {_where(source, file)}).{hint}")
            values[name] = convert_setting(name, raw, types[name], _where(source, file))
            sources[name] = source
    return ResolvedConfig(RunConfig(**values), sources)


def _from_environment(environment: Mapping[str, str], known: Mapping[str, Any]) -> dict[str, str]:
    by_variable = {ENVIRONMENT_PREFIX + name.upper(): name for name in known if name != "checks"}
    return {by_variable[key]: value for key, value in environment.items() if key in by_variable and value != ""}


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a configuration file. Raises ConfigError when it cannot be read or is no TOML."""
    try:
        with path.open("rb") as stream:
            return tomllib.load(stream)
    except OSError as error:
        raise ConfigError(f"Cannot read the configuration {path}: {error.strerror or error}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"The configuration {path} is not valid TOML: {error}.") from error


_TRUE, _FALSE = {"1", "true", "yes", "on"}, {"0", "false", "no", "off"}


def convert_setting(name: str, raw: Any, kind: Any, where: str) -> Any:
    """Read ``raw``, text or a value of TOML, as the type of a setting. Raises ConfigError naming ``where``."""
    wanted = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}.get(kind, "a list of names")
    if name == "checks":
        wanted = "tables of texts, finite numbers and true or false"
    try:
        if name == "checks":
            return _check_tables(raw)
        if name == "classes" and isinstance(raw, list | tuple):  # classes = [0, 3, 7]
            return ",".join(str(item) for item in raw)
        if get_args(kind):  # tuple[str, ...]
            items = raw.split(",") if isinstance(raw, str) else list(raw)
            return tuple(item.strip() for item in items if item.strip())
        if kind is bool:
            return _to_bool(raw)
        if kind is str and (isinstance(raw, bool) or not isinstance(raw, str | int)):  # str() takes anything
            raise TypeError
        if kind is int and (isinstance(raw, bool) or (isinstance(raw, float) and raw != int(raw))):
            raise ValueError
        return kind(raw)
    except (ValueError, TypeError, AttributeError, OverflowError):  # int(inf) overflows
        raise ConfigError(f"'{name}' must be {wanted}; found {raw!r} in {where}.") from None


def _to_bool(raw: Any) -> bool:
    if isinstance(raw, bool):
        return raw
    text = str(raw).strip().lower()
    if text in _TRUE | _FALSE:
        return text in _TRUE
    raise ValueError(raw)


def _check_tables(raw: Any) -> dict[str, dict[str, Scalar]]:
    tables: dict[str, dict[str, Scalar]] = {}
    for check, table in raw.items():
        tables[check] = {}
        for key, value in table.items():
            if not isinstance(value, str | int | float | bool):
                raise TypeError(key)
            if isinstance(value, float) and not math.isfinite(value):
                raise ValueError(key)
            tables[check][key] = value
    return tables


def _where(source: Source, file: Path | None) -> str:
    return {"file": str(file), "environment": f"the environment ({ENVIRONMENT_PREFIX}...)"}.get(source, "the options")


def _require(condition: bool, name: str, found: object, allowed: str) -> None:
    if not condition:
        raise ConfigError(f"'{name}' must be {allowed}; found {found!r}.")
