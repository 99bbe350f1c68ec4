"""Writing a new plugin: all of it or nothing, well formed whatever it is called, with the shape of the example."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from ldm_eval.errors import ConfigError, StoreError
from ldm_eval.store import atomic
from ldm_eval.testing.scaffold import PluginNames, generated_files, write_plugin

NAMES = PluginNames("clipped-pixels", "ldm-eval-clipped-pixels", "clipped_pixels", "pixels", joins=False)
SHORT = PluginNames("x", "ldm-eval-x", "x", "y", joins=False)
LONG = PluginNames("a" * 40, "ldm-eval-" + "a" * 40, "a" * 40, "f" * 40, joins=False)
JOINING = PluginNames("x1", "ldm-eval-x1", "x1", "quality", joins=True)


def test_the_files_are_those_that_were_promised(tmp_path: Path) -> None:
    written = write_plugin(NAMES, tmp_path / "deep" / "plugin")
    assert [path.relative_to(tmp_path / "deep" / "plugin").as_posix() for path in written] == [
        "README.md",
        "pyproject.toml",
        "clipped_pixels/__init__.py",
        "clipped_pixels/blank_share.py",
        "clipped_pixels/phantoms.py",
        "tests/test_blank_share.py",
        "docs/blank_share.md",
    ]
    assert [path.read_text() for path in written] == [file.text for file in generated_files(NAMES)]


@pytest.mark.parametrize("names", [NAMES, SHORT, LONG, JOINING], ids=lambda names: names.plugin[:6])
def test_no_placeholder_is_left_and_all_of_it_is_well_formed(names: PluginNames) -> None:
    for file in generated_files(names):
        assert "$" not in file.text
        assert file.text.endswith("\n")
        if file.path.endswith(".py"):
            ast.parse(file.text)
        if file.path.endswith(".toml"):
            assert tomllib.loads(file.text)["project"]["name"] == names.distribution


@pytest.mark.parametrize("names", [SHORT, LONG, JOINING], ids=lambda names: names.plugin[:6])
@pytest.mark.parametrize("settings", ["its own", "ours"])
def test_it_passes_the_linter_and_the_formatter(
    names: PluginNames, settings: str, tmp_path: Path, repository: Path
) -> None:
    write_plugin(names, tmp_path)
    config = tmp_path if settings == "its own" else repository
    for command in (["check"], ["format", "--check", "--diff"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "--no-cache", "--config", str(config / "pyproject.toml"), "."],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_a_family_with_a_suite_gets_no_second_one() -> None:
    def module(names: PluginNames) -> str:
        return next(file.text for file in generated_files(names) if file.path.endswith("__init__.py"))

    assert "SuiteSpec" in module(NAMES)
    assert "SuiteSpec" not in module(JOINING)


def test_the_package_has_the_shape_of_the_example(repository: Path) -> None:
    """Both say the same where they say the same thing: how it is built, found and tested."""
    text = next(file.text for file in generated_files(NAMES) if file.path == "pyproject.toml")
    new = tomllib.loads(text)
    example = tomllib.loads((repository / "examples/third_party_plugin/pyproject.toml").read_text())
    assert new["build-system"] == example["build-system"]
    for key in ("name", "readme", "requires-python", "entry-points"):
        assert new["project"][key] == example["project"][key]
    for tool in ("setuptools", "pytest"):
        assert new["tool"][tool] == example["tool"][tool]


@pytest.mark.parametrize("there", ["a file of somebody's", ".hidden"])
def test_a_folder_that_holds_anything_is_left_alone(there: str, tmp_path: Path) -> None:
    (tmp_path / there).write_text("mine")
    with pytest.raises(ConfigError, match="is not empty, and nothing in it will be overwritten"):
        write_plugin(NAMES, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [there]


def test_an_empty_folder_is_used(tmp_path: Path) -> None:
    assert len(write_plugin(NAMES, tmp_path)) == 7


def test_a_file_or_a_link_to_nowhere_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("file", "link"):
        with pytest.raises(ConfigError, match="is not a folder"):
            write_plugin(NAMES, tmp_path / name)
    assert (tmp_path / "file").read_text() == "mine"


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = atomic.write_bytes

    def write_bytes(path: Path, content: bytes) -> None:
        if path.name == "phantoms.py":
            raise StoreError("The disk is full.")
        real(path, content)

    monkeypatch.setattr(atomic, "write_bytes", write_bytes)
    with pytest.raises(StoreError, match=r"The plugin was not written: The disk is full\."):
        write_plugin(NAMES, tmp_path / "plugin")
    assert list(tmp_path.iterdir()) == []
