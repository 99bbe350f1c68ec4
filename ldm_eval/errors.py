"""Every error that ldm-eval raises on purpose.

::

    LdmEvalError
    ├── ConfigError     a setting, option or name that cannot be used        exit code 2
    ├── PluginError     a plugin that cannot be loaded or breaks its contract           4
    ├── ModelError      a model that cannot be read, or gives unusable images           2
    ├── DataError       images, labels or groups that cannot be used                    2
    ├── EvidenceError   a check asked for, or reported, something impossible            4
    ├── StoreError      reading or writing a run folder failed (disk full, ...)         4
    └── PolicyError     a gate policy that cannot be applied                            2

A message says what was asked, what was found and what to do next. The command line turns each class into
its exit code; anything that is not an ``LdmEvalError`` is a defect of ours and exits with 5.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import ClassVar

__all__ = [
    "ConfigError",
    "DataError",
    "EvidenceError",
    "LdmEvalError",
    "ModelError",
    "PluginError",
    "PolicyError",
    "StoreError",
    "did_you_mean",
]


class LdmEvalError(Exception):
    """Root of the tree: catch this to catch everything the tool says on purpose."""

    exit_code: ClassVar[int] = 2


class ConfigError(LdmEvalError):
    """A setting, option or name cannot be used."""


class PluginError(LdmEvalError):
    """A plugin cannot be loaded or breaks its contract."""

    exit_code = 4


class ModelError(LdmEvalError):
    """A model cannot be read, is not what it says, or gives unusable images."""


class DataError(LdmEvalError):
    """Images, labels or groups cannot be used."""


class EvidenceError(LdmEvalError):
    """A check asked for evidence it did not declare, or reported something that cannot be true (a NaN)."""

    exit_code = 4


class StoreError(LdmEvalError):
    """Reading or writing a run folder failed: disk full, no permission, damaged file."""

    exit_code = 4


class PolicyError(LdmEvalError):
    """A gate policy cannot be read or applied."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `` Did you mean 'x'?`` for the closest of ``known``, or an empty string when nothing is close."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f" Did you mean '{close[0]}'?" if close else ""
