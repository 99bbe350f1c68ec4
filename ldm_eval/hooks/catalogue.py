"""Discovering plugins one by one, so that a broken one is listed with its error and harms nothing else."""

from __future__ import annotations

import contextlib
import errno
import importlib
import importlib.util
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from typing import Any, TypeVar

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
from ldm_eval.errors import ConfigError, LdmEvalError, PluginError, did_you_mean
from ldm_eval.hooks import specs as hook_specs
from ldm_eval.hooks.specs import PROJECT

__all__ = ["GROUP", "Catalogue", "PluginRecord", "blamed_on", "unavailable_reason"]

GROUP = "ldm_eval"

Spec = (
    BackendSpec
    | ModelSpec
    | TrainerSpec
    | CheckSpec
    | SuiteSpec
    | ExtractorSpec
    | DatasetSpec
    | AttributeClassifierSpec
    | CardSectionSpec
    | RendererSpec
)
S = TypeVar("S", bound=Spec)

_KINDS: dict[str, type[Any]] = {
    "ldm_eval_backends": BackendSpec,
    "ldm_eval_models": ModelSpec,
    "ldm_eval_trainers": TrainerSpec,
    "ldm_eval_checks": CheckSpec,
    "ldm_eval_suites": SuiteSpec,
    "ldm_eval_extractors": ExtractorSpec,
    "ldm_eval_datasets": DatasetSpec,
    "ldm_eval_attribute_classifiers": AttributeClassifierSpec,
    "ldm_eval_card_sections": CardSectionSpec,
    "ldm_eval_renderers": RendererSpec,
}


@dataclass(frozen=True, slots=True)
class PluginRecord:
    """One plugin: where it comes from, what it offers, or why it could not be used.

    Attributes:
        name: Entry-point name, or the module path of an extra plugin.
        module: Module it names.
        distribution: Package that registered it, or an empty string.
        version: Its version, or an empty string.
        error: One line, empty when all is well.
        disabled: True when the user switched it off.
        offers: Kind -> names it offers, e.g. ``{"checks": ("quality/...",)}``.
    """

    name: str
    module: str
    distribution: str = ""
    version: str = ""
    error: str = ""
    disabled: bool = False
    offers: dict[str, tuple[str, ...]] = field(default_factory=dict)


class Catalogue:
    """All that the installed plugins offer. Build it with ``Catalogue.discover``."""

    def __init__(self) -> None:
        self.plugins: list[PluginRecord] = []
        self._specs: dict[type[Any], dict[str, Any]] = {kind: {} for kind in _KINDS.values()}
        self._owner: dict[tuple[type[Any], str], PluginRecord] = {}

    @classmethod
    def discover(cls, disabled: Iterable[str] = (), extra: Sequence[str] = ()) -> Catalogue:
        """Load every entry point of the group ``ldm_eval``, then the modules named in ``extra``.

        Args:
            disabled: Names of plugins to leave out.
            extra: Dotted module paths of plugins that no package registers (while writing one, or in a test).

        Raises:
            ConfigError: when ``disabled`` names a plugin that is not there.
        """
        catalogue = cls()
        found = sorted(entry_points(group=GROUP), key=lambda point: (point.name, point.value))
        names = {point.name for point in found} | set(extra)
        off = set(disabled)
        for name in sorted(off - names):
            hint = did_you_mean(name, names)
            raise ConfigError(f"--disable-plugin {name}: there is no such plugin.{hint} `ldm-eval plugins` lists them.")
        for point in found:
            distribution, version = _origin(point)
            record = PluginRecord(point.name, point.module, distribution, version, disabled=point.name in off)
            catalogue._add(record, point.load)
        for module in extra:
            record = PluginRecord(module, module, disabled=module in off)
            catalogue._add(record, _importer(module))
        return catalogue

    @property
    def backends(self) -> dict[str, BackendSpec]:
        """Backends by name."""
        return self._of(BackendSpec)

    @property
    def models(self) -> dict[str, ModelSpec]:
        """Models that plugins ship, by name."""
        return self._of(ModelSpec)

    @property
    def trainers(self) -> dict[str, TrainerSpec]:
        """Trainers by name."""
        return self._of(TrainerSpec)

    @property
    def checks(self) -> dict[str, CheckSpec]:
        """Checks by id, sorted."""
        return dict(sorted(self._of(CheckSpec).items()))

    @property
    def suites(self) -> dict[str, SuiteSpec]:
        """Suites by name."""
        return self._of(SuiteSpec)

    @property
    def extractors(self) -> dict[str, ExtractorSpec]:
        """Extractors by name; the first is the default."""
        return self._of(ExtractorSpec)

    @property
    def datasets(self) -> dict[str, DatasetSpec]:
        """Datasets by name."""
        return self._of(DatasetSpec)

    @property
    def attribute_classifiers(self) -> dict[str, AttributeClassifierSpec]:
        """Attribute classifiers by name."""
        return self._of(AttributeClassifierSpec)

    @property
    def card_sections(self) -> dict[str, CardSectionSpec]:
        """Card sections by name."""
        return self._of(CardSectionSpec)

    @property
    def renderers(self) -> dict[str, RendererSpec]:
        """Renderers by name."""
        return self._of(RendererSpec)

    def owner(self, spec: Spec) -> PluginRecord:
        """The plugin that offers ``spec``."""
        return self._owner[type(spec), _name(spec)]

    def _of(self, kind: type[S]) -> dict[str, S]:
        return dict(self._specs[kind])

    def _add(self, record: PluginRecord, load: Callable[[], object]) -> None:
        if record.disabled:
            self.plugins.append(record)
            return
        try:
            offered = _offered(record.name, load())
            self._refuse_taken_names(offered)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a plugin may raise anything, SystemExit included; it is listed, not obeyed
            self.plugins.append(_failed(record, error))
            return
        names: dict[str, tuple[str, ...]] = {}
        done = PluginRecord(record.name, record.module, record.distribution, record.version, offers=names)
        for hook, items in offered.items():
            names[hook.removeprefix("ldm_eval_")] = tuple(_name(spec) for spec in items)
            for spec in items:
                self._specs[type(spec)][_name(spec)] = spec
                self._owner[type(spec), _name(spec)] = done
        self.plugins.append(done)

    def _refuse_taken_names(self, offered: dict[str, list[Any]]) -> None:
        for items in offered.values():
            for spec in items:
                if _name(spec) in self._specs[type(spec)]:
                    owner = self._owner[type(spec), _name(spec)].name
                    raise ConfigError(f"'{_name(spec)}' is already offered by the plugin '{owner}'")


def unavailable_reason(requires: Sequence[str], extra: str) -> str:
    """Why something cannot be used here, with the line that enables it; empty when it can."""
    missing = [module for module in requires if not _importable(module)]
    if not missing:
        return ""
    install = f"pip install 'ldm-eval[{extra}]'" if extra else f"pip install {' '.join(missing)}"
    return f"needs {', '.join(missing)}: {install}"


@contextlib.contextmanager
def blamed_on(what: str) -> Iterator[None]:
    """Turn what a plugin raises by mistake into a PluginError that names it; it is no defect of ldm-eval.

    Errors of our tree, a full disk and too little memory pass unchanged: they have messages of their own.

    Raises:
        PluginError: for any other exception.
    """
    try:
        yield
    except (LdmEvalError, MemoryError):
        raise
    except Exception as error:
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        if full or type(error).__name__ == "OutOfMemoryError":
            raise
        text = " ".join(str(error).split())
        raise PluginError(
            f"{what} failed: {type(error).__name__}: {text}. Run again with --debug and report it to its author."
        ) from error


def _importable(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):  # the package that "a.b" lies in is missing, or was half imported
        return False


def _offered(name: str, plugin: object) -> dict[str, list[Any]]:
    """Call the hooks of one plugin alone: pluggy would stop a call over all plugins at the first exception."""
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(hook_specs)
    manager.register(plugin, name=name)
    manager.check_pending()
    offered: dict[str, list[Any]] = {}
    for hook, kind in _KINDS.items():
        items = [spec for answer in getattr(manager.hook, hook)() for spec in answer]
        for spec in items:
            if not isinstance(spec, kind):
                raise TypeError(f"{hook} returned {type(spec).__name__}, expected {kind.__name__}")
        if len({_name(spec) for spec in items}) < len(items):
            raise ValueError(f"{hook} returned the same name twice")
        if items:
            offered[hook] = items
    if not offered:
        raise ValueError("it implements none of the ldm_eval hooks")
    return offered


def _failed(record: PluginRecord, error: BaseException) -> PluginRecord:
    text = " ".join(str(error).split()) or "no message"
    line = f"{type(error).__name__}: {text}"[:300]
    return PluginRecord(record.name, record.module, record.distribution, record.version, error=line)


def _importer(module: str) -> Callable[[], object]:
    return lambda: importlib.import_module(module)


def _origin(point: EntryPoint) -> tuple[str, str]:
    distribution = point.dist
    return (distribution.name, distribution.version) if distribution else ("", "")


def _name(spec: Spec) -> str:
    return spec.id if isinstance(spec, CheckSpec) else spec.name
