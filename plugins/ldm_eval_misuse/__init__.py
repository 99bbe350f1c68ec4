"""Checks of misinformation and misuse."""

from __future__ import annotations

from ldm_eval.api import CheckSpec, SuiteSpec
from ldm_eval.hooks import hookimpl

__all__ = ["ldm_eval_checks", "ldm_eval_suites"]


@hookimpl
def ldm_eval_checks() -> list[CheckSpec]:
    """Questions about telling generated images from real ones."""
    from ldm_eval_misuse.detectability import Detectability

    return [CheckSpec.of(Detectability)]


@hookimpl
def ldm_eval_suites() -> list[SuiteSpec]:
    """The suite ``misuse``."""
    return [SuiteSpec("misuse", "Whether generated images can be told from real ones", ("misuse/*",))]
