"""Plugins are loaded one by one: a broken one is listed with its error and harms nothing else."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ldm_eval.errors import ConfigError
from ldm_eval.hooks.catalogue import Catalogue, PluginRecord, unavailable_reason

Register = Callable[..., None]

SUITE = """
    from ldm_eval.api import SuiteSpec
    from ldm_eval.hooks import hookimpl

    @hookimpl
    def ldm_eval_suites():
        return [SuiteSpec("{name}", "one line", ("quality/*",))]
"""


@pytest.fixture
def register(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Register]:
    """Write a module and register it as an installed package would be: by an entry point in a dist-info folder."""
    before = set(sys.modules)

    def write(module: str, source: str, target: str | None = None) -> None:
        (tmp_path / f"{module}.py").write_text(textwrap.dedent(source))
        info = tmp_path / f"{module}-2.5.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 2.5\n")
        (info / "entry_points.txt").write_text(f"[ldm_eval]\n{module} = {target or module}\n")
        monkeypatch.syspath_prepend(tmp_path)

    yield write
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and str(tmp_path) in str(sys.modules[name].__file__):
            del sys.modules[name]


def _record(catalogue: Catalogue, name: str) -> PluginRecord:
    return next(record for record in catalogue.plugins if record.name == name)


BROKEN = {
    "raises_at_import": ("raise RuntimeError('the\\nlicence   ran out')", "RuntimeError: the licence ran out"),
    "exits_at_import": ("import sys; sys.exit(7)", "SystemExit: 7"),
    "imports_what_is_missing": ("import no_such_module_at_all", "ModuleNotFoundError: No module named"),
    "is_not_python": ("def (:", "SyntaxError"),
    "has_no_hooks": ("x = 1", "ValueError: it implements none of the ldm_eval hooks"),
    "implements_another_hook": (
        """
        from ldm_eval.hooks import hookimpl
        @hookimpl
        def ldm_eval_chekcs():
            return []
        """,
        "PluginValidationError: unknown hook 'ldm_eval_chekcs'",
    ),
    "hook_raises": (
        """
        from ldm_eval.hooks import hookimpl
        @hookimpl
        def ldm_eval_checks():
            return 1 / 0
        """,
        "ZeroDivisionError: division by zero",
    ),
    "hook_returns_a_number": (
        """
        from ldm_eval.hooks import hookimpl
        @hookimpl
        def ldm_eval_checks():
            return 5
        """,
        "TypeError: 'int' object is not iterable",
    ),
    "hook_returns_another_spec": (
        """
        from ldm_eval.api import SuiteSpec
        from ldm_eval.hooks import hookimpl
        @hookimpl
        def ldm_eval_checks():
            return [SuiteSpec("s", "", ())]
        """,
        "TypeError: ldm_eval_checks returned SuiteSpec, expected CheckSpec",
    ),
    "hook_returns_a_name_twice": (
        """
        from ldm_eval.api import SuiteSpec
        from ldm_eval.hooks import hookimpl
        @hookimpl
        def ldm_eval_suites():
            return [SuiteSpec("twin", "", ()), SuiteSpec("twin", "", ())]
        """,
        "ValueError: ldm_eval_suites returned the same name twice",
    ),
    "takes_a_name_that_is_taken": (
        """
        from ldm_eval.api import BackendSpec
        from ldm_eval.hooks import hookimpl
        @hookimpl
        def ldm_eval_backends():
            return [BackendSpec("phantom", "an impostor", lambda: None)]
        """,
        "ConfigError: 'phantom' is already offered by the plugin 'phantoms'",
    ),
}


@pytest.mark.parametrize("name", sorted(BROKEN))
def test_a_broken_plugin_is_listed_with_its_error_and_harms_nothing_else(register: Register, name: str) -> None:
    source, message = BROKEN[name]
    whole = Catalogue.discover()
    # Sorts behind the built-in plugins, as a stranger's may; and a good one behind it must still be found.
    register(f"zz_{name}", source)
    register("zzz_good", SUITE.format(name="good-suite"))
    catalogue = Catalogue.discover()
    broken = _record(catalogue, f"zz_{name}")
    assert broken.error.startswith(message)
    assert "\n" not in broken.error
    assert broken.offers == {}
    assert (broken.distribution, broken.version, broken.module) == (f"zz_{name}", "2.5", f"zz_{name}")
    assert "good-suite" in catalogue.suites
    assert list(catalogue.checks) == list(whole.checks)
    assert list(catalogue.backends) == list(whole.backends)
    assert catalogue.backends["phantom"].summary == whole.backends["phantom"].summary


def test_a_plugin_with_one_taken_name_offers_nothing_at_all(register: Register) -> None:
    register(
        "zz_half",
        """
        from ldm_eval.api import BackendSpec, SuiteSpec
        from ldm_eval.hooks import hookimpl
        @hookimpl
        def ldm_eval_suites():
            return [SuiteSpec("half", "", ())]
        @hookimpl
        def ldm_eval_backends():
            return [BackendSpec("phantom", "", lambda: None)]
        """,
    )
    catalogue = Catalogue.discover()
    assert _record(catalogue, "zz_half").error
    assert "half" not in catalogue.suites


def test_an_entry_point_may_name_any_object_and_a_foreign_one_is_listed(register: Register) -> None:
    register("zz_foreign", "thing = 42", target="zz_foreign:thing")
    register("zz_nowhere", "thing = 42", target="zz_nowhere:another")
    catalogue = Catalogue.discover()
    assert _record(catalogue, "zz_foreign").error.startswith("ValueError: it implements none")
    assert _record(catalogue, "zz_nowhere").error.startswith("AttributeError")


def test_an_interrupt_is_not_swallowed(register: Register) -> None:
    register("zz_interrupt", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        Catalogue.discover()


def test_a_plugin_can_be_switched_off_without_being_imported(register: Register) -> None:
    register("zz_off", SUITE.format(name="off-suite"))
    catalogue = Catalogue.discover(disabled=["zz_off"])
    assert _record(catalogue, "zz_off").disabled
    assert "off-suite" not in catalogue.suites
    assert "zz_off" not in sys.modules


def test_switching_off_a_plugin_that_is_not_there_says_so() -> None:
    with pytest.raises(ConfigError, match=r"no such plugin\. Did you mean 'phantoms'\?"):
        Catalogue.discover(disabled=["phantom"])


def test_an_extra_module_is_a_plugin_while_it_is_being_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "zz_extra.py").write_text(textwrap.dedent(SUITE.format(name="extra-suite")))
    monkeypatch.syspath_prepend(tmp_path)
    try:
        catalogue = Catalogue.discover(extra=["zz_extra", "zz_missing"])
    finally:
        sys.modules.pop("zz_extra", None)
    record = catalogue.owner(catalogue.suites["extra-suite"])
    assert (record.name, record.distribution, record.offers) == ("zz_extra", "", {"suites": ("extra-suite",)})
    assert _record(catalogue, "zz_missing").error.startswith("ModuleNotFoundError")
    assert _record(Catalogue.discover(extra=["zz_extra"], disabled=["zz_extra"]), "zz_extra").disabled


def test_checks_are_sorted_and_know_their_owner() -> None:
    catalogue = Catalogue.discover()
    assert list(catalogue.checks) == sorted(catalogue.checks)
    for spec in catalogue.checks.values():
        assert spec.id in catalogue.owner(spec).offers["checks"]


def test_discovering_imports_no_torch() -> None:
    program = (
        "import sys\n"
        "from ldm_eval.hooks.catalogue import Catalogue\n"
        "Catalogue.discover()\n"
        "print([name for name in ('torch', 'pandas', 'matplotlib', 'scipy.stats') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_what_is_missing_is_named_with_the_line_that_installs_it() -> None:
    assert unavailable_reason(("json", "numpy"), "clip") == ""
    assert unavailable_reason(("json", "no_such_thing"), "clip") == "needs no_such_thing: pip install 'ldm-eval[clip]'"
    assert unavailable_reason(("no_a", "no_b"), "") == "needs no_a, no_b: pip install no_a no_b"
