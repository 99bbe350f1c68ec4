from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ldm_eval.api import DatasetSpec
from ldm_eval.cli import inventory as module
from ldm_eval.cli.app import app
from ldm_eval.cli.inventory import inventory
from ldm_eval.cli.listing import KINDS
from ldm_eval.hooks import hookimpl
from ldm_eval.hooks.catalogue import Catalogue

Call = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_lists_for_people_and_for_programs(kind: str) -> None:
    table = CliRunner().invoke(app, ["list", kind], catch_exceptions=False)
    document = json.loads(CliRunner().invoke(app, ["list", kind, "--json"], catch_exceptions=False).stdout)
    assert table.exit_code == 0
    assert document
    for item in document:
        assert {"name", "summary", "plugin", "unavailable"} <= set(item)


class _Plugin:
    """Offers a dataset whose extra is not installed."""

    @hookimpl
    def ldm_eval_datasets(self) -> list[DatasetSpec]:
        def load(*_: object) -> None:
            raise AssertionError

        spec = DatasetSpec(
            "faces", "Faces.", "CC0-1.0", ("train",), lambda _: 0.0, load, requires=("no_such",), extra="faces"
        )  # type: ignore[arg-type]
        return [spec]


def test_what_lacks_an_extra_says_which_line_enables_it() -> None:
    catalogue = Catalogue()
    from ldm_eval.hooks.catalogue import PluginRecord

    catalogue._add(PluginRecord("mine", "mine"), _Plugin)
    (item,) = inventory(catalogue, "datasets")
    assert item.plugin == "mine"
    assert "pip install 'ldm-eval[faces]'" in item.unavailable
    assert "pip install 'ldm-eval[faces]'" in str(module._described(item))


def test_a_broken_plugin_is_listed_with_its_error_and_the_others_still_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_plugin.py").write_text("raise RuntimeError('half [installed]')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("LDM_EVAL_PLUGIN", "broken_plugin")
    done = CliRunner().invoke(app, ["plugins"], catch_exceptions=False, env={"COLUMNS": "120"})
    assert done.exit_code == 0
    assert "cannot be used: RuntimeError: half [installed]" in done.stdout
    assert "backends: native" in done.stdout
    document = json.loads(CliRunner().invoke(app, ["plugins", "--json"]).stdout)
    assert {record["name"]: record["error"] for record in document}["broken_plugin"].startswith("RuntimeError")


def test_a_plugin_that_is_switched_off_offers_nothing() -> None:
    switched_off = ["--disable-plugin", "misuse"]
    checks = json.loads(CliRunner().invoke(app, ["list", "checks", "--json", *switched_off]).stdout)
    assert checks
    assert not [check for check in checks if check["plugin"] == "misuse"]
    assert "switched off" in CliRunner().invoke(app, ["plugins", *switched_off]).stdout


def test_what_a_plugin_prints_never_gets_among_the_results(tmp_path: Path, call: Call) -> None:
    (tmp_path / "talks.py").write_text(
        "import ctypes, os\n"
        "from ldm_eval.api import SuiteSpec\n"
        "from ldm_eval.hooks import hookimpl\n"
        "print('hello from Python'); os.write(1, b'hello from the system')\n"
        "ctypes.CDLL(None).printf(b'hello from C')\n"
        "@hookimpl\n"
        "def ldm_eval_suites(): return [SuiteSpec('talks', '', ('quality/*',))]\n"
    )
    paths = os.pathsep.join([str(tmp_path), *sys.path])
    done = call("list", "suites", "--json", "--plugin", "talks", PYTHONPATH=paths)
    assert "talks" in [item["name"] for item in json.loads(done.stdout)]
    for source in ("Python", "the system", "C"):
        assert f"hello from {source}" in done.stderr
