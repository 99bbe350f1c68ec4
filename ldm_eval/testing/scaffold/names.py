"""The names of a new plugin, all made from one word, and refused where one of them could not be used."""

from __future__ import annotations

import fnmatch
import importlib.util
import keyword
import re
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from ldm_eval.errors import ConfigError
from ldm_eval.hooks.catalogue import Catalogue

__all__ = ["LONGEST", "PREFIX", "PluginNames", "plugin_names"]

PREFIX = "ldm-eval-"
"""What the name of the distribution begins with, as ``pytest-`` does for plugins of pytest."""

LONGEST = 40
"""Longer names would push generated lines beyond 120 columns."""

_DISTRIBUTION = re.compile(r"[a-z0-9]([a-z0-9._-]*[a-z0-9])?", re.IGNORECASE)
"""A name as PEP 508 allows it."""

_FAMILY = re.compile(r"[a-z][a-z0-9_]*")
"""The first half of a check's id; the conformance kit asks the same."""

_CHECK = "blank_share"
_FOLDERS = ("tests", "docs")


@dataclass(frozen=True, slots=True)
class PluginNames:
    """What the parts of one plugin are called.

    Attributes:
        plugin: Entry-point name, e.g. ``"clipped-pixels"``; ``--disable-plugin`` takes it.
        distribution: Name of the package that pip installs, e.g. ``"ldm-eval-clipped-pixels"``.
        module: Name that is imported, e.g. ``"clipped_pixels"``.
        family: First half of the check's id.
        joins: True when a suite that is installed selects the family already, so the plugin offers none of its own.
    """

    plugin: str
    distribution: str
    module: str
    family: str
    joins: bool

    @property
    def check(self) -> str:
        """Id of the generated check."""
        return f"{self.family}/{_CHECK}"


def plugin_names(name: str, family: str, catalogue: Catalogue) -> PluginNames:
    """Make all names from ``name``, and refuse what could not be installed or imported beside what is there.

    Args:
        name: A name as PEP 508 allows it; case and runs of ``-``, ``_`` and ``.`` do not matter, and neither does a
            leading ``ldm-eval-``.
        family: First half of the check's id; the module's name when empty.
        catalogue: What is installed.

    Raises:
        ConfigError: for a name that is none, is taken, or cannot be a Python module; for such a family.
    """
    plugin = _plugin_name(name)
    module = plugin.replace("-", "_")
    _refuse_module(name, module)
    _refuse_installed(name, plugin, catalogue)
    family = family or module
    return PluginNames(plugin, PREFIX + plugin, module, family, joins=_joins_a_suite(family, catalogue))


def _plugin_name(name: str) -> str:
    if not _DISTRIBUTION.fullmatch(name):
        raise ConfigError(
            f"A plugin cannot be called '{name}': a name has letters, digits, '-', '_' and '.', and begins and ends "
            "with a letter or a digit (PEP 508). Its folder is chosen with --output."
        )
    plugin = re.sub(r"[-_.]+", "-", name).lower().removeprefix(PREFIX)
    if len(plugin) > LONGEST:
        raise ConfigError(f"The name '{name}' has {len(plugin)} characters; choose one of at most {LONGEST}.")
    return plugin


def _refuse_module(name: str, module: str) -> None:
    problem = ""
    if not module.isidentifier():
        problem = "is no Python name: it begins with a digit"
    elif keyword.iskeyword(module) or keyword.issoftkeyword(module):
        problem = "is a word of the Python language"
    elif module in sys.stdlib_module_names:
        problem = "is a module of Python's own library, which it would hide"
    elif module in _FOLDERS:
        problem = f"is what the folder of its {module} is called"
    elif _is_importable(module):
        problem = "is installed here already, and one would hide the other"
    if problem:
        raise ConfigError(f"A plugin cannot be called '{name}': its module '{module}' {problem}. Choose another name.")


def _is_importable(module: str) -> bool:
    """Looks a top-level module up without importing it; a mere folder of that name hides nothing."""
    try:
        found = importlib.util.find_spec(module)
    except (ImportError, ValueError):  # half imported: it is there
        return True
    return found is not None and found.origin is not None


def _refuse_installed(name: str, plugin: str, catalogue: Catalogue) -> None:
    if any(record.name == plugin for record in catalogue.plugins):
        raise ConfigError(
            f"A plugin called '{plugin}' is installed already; `ldm-eval plugins` lists it. Choose another name."
        )
    try:
        installed = version(PREFIX + plugin)
    except PackageNotFoundError:
        return
    raise ConfigError(
        f"A plugin cannot be called '{name}': the package {PREFIX + plugin} {installed} is installed already. "
        "Choose another name."
    )


def _joins_a_suite(family: str, catalogue: Catalogue) -> bool:
    """True when the family's suite is there and selects the new check."""
    if not _FAMILY.fullmatch(family) or len(family) > LONGEST:
        raise ConfigError(
            f"'{family}' cannot be a family of checks: it needs small letters, digits and underscores, begins with a "
            f"letter, and has at most {LONGEST} characters, as in 'quality' of quality/frechet_distance."
        )
    check = f"{family}/{_CHECK}"
    if check in catalogue.checks:
        owner = catalogue.owner(catalogue.checks[check]).name
        raise ConfigError(f"The check {check} is offered by the plugin '{owner}' already. Choose another --family.")
    if family == "all":
        raise ConfigError("'all' is the suite of all checks, not a family. Choose another --family.")
    suite = catalogue.suites.get(family)
    if suite is not None and not any(fnmatch.fnmatchcase(check, pattern) for pattern in suite.checks):
        owner = catalogue.owner(suite).name
        raise ConfigError(
            f"The suite '{family}' of the plugin '{owner}' would not select {check}, and no second suite can be called "
            f"so. Choose another --family."
        )
    return suite is not None
