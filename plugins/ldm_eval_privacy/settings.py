"""Settings of a check as its author meant them, or as the configuration file overrides them."""

from __future__ import annotations

from collections.abc import Mapping

from ldm_eval.api import Scalar
from ldm_eval.errors import ConfigError, did_you_mean

__all__ = ["positive_settings"]


def positive_settings(check: str, defaults: Mapping[str, float], given: Mapping[str, Scalar]) -> dict[str, float]:
    """Return ``defaults`` overridden by ``given``; every setting is a positive number.

    Raises:
        ConfigError: for a name the check does not have, or a value that is not a positive number.
    """
    for name, value in given.items():
        if name not in defaults:
            known = ", ".join(sorted(defaults))
            raise ConfigError(f"{check} has no setting '{name}'.{did_you_mean(name, defaults)} It has: {known}.")
        if isinstance(value, bool | str) or not 0 < value < float("inf"):
            raise ConfigError(f"{check}: '{name}' must be a positive number; found {value!r}.")
    return {**defaults, **{name: float(value) for name, value in given.items()}}
