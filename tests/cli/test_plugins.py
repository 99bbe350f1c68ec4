"""``ldm-eval plugins`` lists as ever; ``plugins new`` writes, says what it wrote, and refuses in one line."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ldm_eval.cli.app import app

Call = Callable[..., "subprocess.CompletedProcess[str]"]


def test_alone_it_lists() -> None:
    done = CliRunner().invoke(app, ["plugins"], catch_exceptions=False)
    assert done.exit_code == 0
    assert "backends: native" in done.stdout
    names = [record["name"] for record in json.loads(CliRunner().invoke(app, ["plugins", "--json"]).stdout)]
    assert {"quality", "privacy", "fairness", "misuse"} <= set(names)


def test_new_writes_and_prints_the_files(call: Call, tmp_path: Path) -> None:
    done = call("plugins", "new", "Blank_Images", "--family", "quality")
    assert done.returncode == 0, done.stderr
    files = [tmp_path / line for line in done.stdout.splitlines()]
    assert files
    assert all(file.is_file() and file.is_relative_to(tmp_path / "blank-images") for file in files)
    assert "the check quality/blank_share" in done.stderr


def test_the_output_folder_is_chosen(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["plugins", "new", "blank-images", "--output", str(tmp_path / "a" / "b")])
    assert done.exit_code == 0
    assert (tmp_path / "a" / "b" / "blank_images" / "blank_share.py").is_file()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["plugins", "nwe"], "Did you mean 'new'?"),
        (["plugins", "new"], "Missing argument 'NAME'"),
        (["plugins", "new", "../up"], "A plugin cannot be called '../up'"),
        (["plugins", "new", "quality"], "A plugin called 'quality' is installed already"),
        (["plugins", "new", "mine", "--family", "Not This"], "cannot be a family of checks"),
        (["plugins", "new", "mine", "--output", "."], "is not empty"),
        (["plugins", "--json", "new", "mine"], "--json belongs to the list"),
        (["plugins", "--disable-plugin", "gone", "new", "mine"], "--disable-plugin gone"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_line_and_writes_nothing(arguments: list[str], words: str, call: Call, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    done = call(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert words in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
