"""A plugin for ldm-eval with one check: do generated images hit black and white more often than real ones?"""

from __future__ import annotations

from ldm_eval.api import CheckSpec, SuiteSpec
from ldm_eval.hooks import hookimpl


@hookimpl
def ldm_eval_checks() -> list[CheckSpec]:
    """The check ``pixels/clipped_share``."""
    from clipped_pixels.clipped_share import ClippedShare

    return [CheckSpec.of(ClippedShare)]


@hookimpl
def ldm_eval_suites() -> list[SuiteSpec]:
    """The suite ``pixels``."""
    return [SuiteSpec("pixels", "Whether pixels are used as real images use them", ("pixels/*",))]
