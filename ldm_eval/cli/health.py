"""What ``doctor`` looks at: is this machine, and this installation, able to evaluate a model?"""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from ldm_eval.api import ExtractorContext, ExtractorSpec
from ldm_eval.hooks.catalogue import Catalogue, unavailable_reason

__all__ = ["Finding", "examine"]

State = Literal["ok", "note", "problem"]
PACKAGES = ("ldm-eval", "torch", "numpy", "scipy", "pandas", "pillow", "matplotlib", "pluggy", "typer", "rich")
ENOUGH_DISK = 2_000_000_000
"""Bytes: a thousand large samples, the features of a few sets and a checkpoint."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at; a ``problem`` means that a run cannot work."""

    subject: str
    state: State
    text: str


def examine(catalogue: Catalogue, cache_dir: Path, reports: Path) -> list[Finding]:
    """Look at everything; ``cache_dir`` and ``reports`` are where a run would write."""
    return [
        _python(),
        Finding("platform", "ok", f"{platform.platform()}, {os.cpu_count()} CPUs"),
        *_packages(),
        *_torch(),
        _writable("cache", cache_dir),
        _writable("results", reports),
        *_plugins(catalogue),
        *_extras(catalogue),
        *_extractors(catalogue, cache_dir),
    ]


def _python() -> Finding:
    text = f"{platform.python_version()} at {sys.executable}"
    tested = (3, 11) <= sys.version_info[:2] <= (3, 13)
    return Finding("python", "ok" if tested else "note", text if tested else f"{text}; 3.11 to 3.13 are supported")


def _packages() -> Iterator[Finding]:
    for package in PACKAGES:
        try:
            yield Finding(package, "ok", version(package))
        except PackageNotFoundError:
            yield Finding(package, "problem", "not installed: pip install ldm-eval")


def _torch() -> Iterator[Finding]:
    if importlib.util.find_spec("torch") is None:
        return
    try:
        import torch
    except Exception as error:  # a build that does not fit the machine raises OSError, ImportError and others
        yield Finding("torch", "problem", f"cannot be imported ({type(error).__name__}: {error}); install it again")
        return
    yield Finding("threads", "ok", f"torch uses {torch.get_num_threads()}; --threads changes it")
    if not torch.cuda.is_available():
        yield Finding("CUDA", "note", "no CUDA device; everything runs on the CPU")
        return
    for index in range(torch.cuda.device_count()):
        card = torch.cuda.get_device_properties(index)
        yield Finding(f"cuda:{index}", "ok", f"{card.name}, {card.total_memory / 1e9:.0f} GB")


def _writable(subject: str, folder: Path) -> Finding:
    existing = next((place for place in (folder, *folder.parents) if place.is_dir()), Path())
    try:
        with tempfile.TemporaryFile(dir=existing):
            free = shutil.disk_usage(existing).free
    except OSError as error:
        return Finding(subject, "problem", f"{folder} cannot be written: {error.strerror or error}")
    text = f"{folder}, {free / 1e9:.1f} GB free"
    return Finding(subject, "ok" if free >= ENOUGH_DISK else "note", text)


def _plugins(catalogue: Catalogue) -> Iterator[Finding]:
    for record in catalogue.plugins:
        if record.error:
            yield Finding(f"plugin {record.name}", "note", f"cannot be used: {record.error}")
    usable = [record.name for record in catalogue.plugins if not record.error and not record.disabled]
    state: State = "ok" if catalogue.checks and catalogue.backends else "problem"
    yield Finding("plugins", state, ", ".join(usable) or "none; install ldm-eval again")


def _extras(catalogue: Catalogue) -> Iterator[Finding]:
    """What is installed but cannot be used because an extra is missing."""
    needs = {name: (spec.requires, spec.extra) for name, spec in catalogue.checks.items()}
    needs |= {name: (spec.requires, spec.extra) for name, spec in catalogue.backends.items()}
    needs |= {name: (spec.requires, spec.extra) for name, spec in catalogue.datasets.items()}
    for name, (modules, extra) in needs.items():
        reason = unavailable_reason(modules, extra)
        if reason:
            yield Finding(name, "note", f"not available here: {reason}")


def _extractors(catalogue: Catalogue, cache_dir: Path) -> Iterator[Finding]:
    """Are the weights of each extractor here? They are loaded without the network to find out."""
    if not catalogue.extractors:
        yield Finding("extractors", "problem", "none; distances and precision/recall cannot be measured")
    for spec in catalogue.extractors.values():
        reason = unavailable_reason(spec.requires, spec.extra) or _no_weights(spec, cache_dir)
        yield Finding(f"extractor {spec.name}", "note" if reason else "ok", reason or "its weights are here")


def _no_weights(spec: ExtractorSpec, cache_dir: Path) -> str:
    try:
        spec.load(ExtractorContext("cpu", offline=True, cache_dir=cache_dir))
    except Exception as error:  # an extractor of a plugin may raise anything; the doctor only reports it
        return " ".join(str(error).split()) or type(error).__name__
    return ""
