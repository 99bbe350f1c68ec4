"""Writing a new plugin: the files of ``templates/`` with its names filled in, all of them or none."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from string import Template

from ldm_eval.errors import ConfigError, StoreError
from ldm_eval.store.atomic import write_text
from ldm_eval.testing.scaffold.names import PluginNames

__all__ = ["GeneratedFile", "generated_files", "write_plugin"]


@dataclass(frozen=True, slots=True)
class GeneratedFile:
    """One file of a new plugin: ``path`` relative to its folder, with ``/``, and the whole ``text``."""

    path: str
    text: str


def generated_files(names: PluginNames) -> tuple[GeneratedFile, ...]:
    """All files of a plugin of these names, as they will be written; nothing is written yet."""
    templates = {
        "README.md": "README.md",
        "pyproject.toml": "pyproject.toml",
        f"{names.module}/__init__.py": "init_joining.py" if names.joins else "init.py",
        f"{names.module}/blank_share.py": "blank_share.py",
        f"{names.module}/phantoms.py": "phantoms.py",
        "tests/test_blank_share.py": "tests.py",
        "docs/blank_share.md": "page.md",
    }
    words = {
        "plugin": names.plugin,
        "distribution": names.distribution,
        "module": names.module,
        "family": names.family,
        "check": names.check,
    }
    folder = files("ldm_eval.testing.scaffold") / "templates"
    return tuple(
        GeneratedFile(path, Template((folder / f"{name}.tmpl").read_text(encoding="utf-8")).substitute(words))
        for path, name in templates.items()
    )


def write_plugin(names: PluginNames, folder: Path) -> tuple[Path, ...]:
    """Write a plugin of these names into ``folder``, which must be empty or not there; return what was written.

    Raises:
        ConfigError: when ``folder`` is a file, or holds anything.
        StoreError: when it cannot be written; nothing is left behind then.
    """
    _refuse_occupied(folder)
    written: list[Path] = []
    try:
        for file in generated_files(names):
            path = folder / file.path
            write_text(path, file.text)
            written.append(path)
    except StoreError as error:
        _take_back(written, folder)
        raise StoreError(f"The plugin was not written: {error}") from error
    return tuple(written)


def _refuse_occupied(folder: Path) -> None:
    try:
        occupied = folder.is_dir() and any(folder.iterdir())
        blocked = not folder.is_dir() and (folder.exists() or folder.is_symlink())
    except OSError as error:
        raise StoreError(f"Could not look into {folder}: {error.strerror or error}.") from error
    if occupied:
        raise ConfigError(
            f"The folder {folder} is not empty, and nothing in it will be overwritten. "
            "Name an empty or a new one with --output."
        )
    if blocked:
        raise ConfigError(f"{folder} is there and is not a folder. Name an empty or a new folder with --output.")


def _take_back(written: list[Path], folder: Path) -> None:
    for path in written:
        path.unlink(missing_ok=True)
    for path in sorted((p for p in folder.rglob("*") if p.is_dir()), reverse=True):
        with contextlib.suppress(OSError):  # whatever somebody else has put there stays
            path.rmdir()
    with contextlib.suppress(OSError):
        folder.rmdir()
