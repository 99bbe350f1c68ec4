"""The whole contract between ldm-eval and a plugin, on one page.

A plugin is an importable module registered under the entry-point group ``ldm_eval``. It implements any of these
hooks with ``@hookimpl``; each returns a list of light specs and imports nothing heavy. The built-in plugins use the
same hooks.
"""

from __future__ import annotations

import pluggy

from ldm_eval.api import (
    AttributeClassifierSpec,
    BackendSpec,
    CardSectionSpec,
    CheckSpec,
    DatasetSpec,
    ExtractorSpec,
    ModelSpec,
    RendererSpec,
    SuiteSpec,
    TrainerSpec,
)

PROJECT = "ldm_eval"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def ldm_eval_backends() -> list[BackendSpec]:  # type: ignore[empty-body]
    """Families of models that can be loaded."""


@hookspec
def ldm_eval_models() -> list[ModelSpec]:  # type: ignore[empty-body]
    """Models that ship with a plugin under a name of their own."""


@hookspec
def ldm_eval_trainers() -> list[TrainerSpec]:  # type: ignore[empty-body]
    """Ways to train a model with ``ldm-eval train``."""


@hookspec
def ldm_eval_checks() -> list[CheckSpec]:  # type: ignore[empty-body]
    """Questions that can be asked of a model."""


@hookspec
def ldm_eval_suites() -> list[SuiteSpec]:  # type: ignore[empty-body]
    """Named selections of checks."""


@hookspec
def ldm_eval_extractors() -> list[ExtractorSpec]:  # type: ignore[empty-body]
    """Feature spaces."""


@hookspec
def ldm_eval_datasets() -> list[DatasetSpec]:  # type: ignore[empty-body]
    """Sources of images: file formats and named datasets."""


@hookspec
def ldm_eval_attribute_classifiers() -> list[AttributeClassifierSpec]:  # type: ignore[empty-body]
    """Classifiers of groups, with their errors."""


@hookspec
def ldm_eval_card_sections() -> list[CardSectionSpec]:  # type: ignore[empty-body]
    """Sections added to the model card."""


@hookspec
def ldm_eval_renderers() -> list[RendererSpec]:  # type: ignore[empty-body]
    """Other formats a finished run can be written in."""
