"""A stranger's package: installed by pip, its check is found, listed, proven and no different from our own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "third_party_plugin"
TUTORIAL = ROOT / "docs" / "writing-a-plugin.md"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the plugin installed into it, from a copy so that no build output is left in the example."""
    folder = tmp_path_factory.mktemp("third_party")
    source, target = folder / "source", folder / "site"
    shutil.copytree(EXAMPLE, source, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info", "build"))
    # No index is needed: --no-deps because ldm-eval is here already, --no-build-isolation because setuptools is.
    command = ["-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    environment = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    done = subprocess.run(
        [sys.executable, *command, "--target", str(target), str(source)],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return target


def _python(installed: Path, *arguments: str) -> str:
    paths = [str(installed), *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_check_of_an_installed_plugin_is_found(installed: Path) -> None:
    program = """
import json
from ldm_eval.hooks.catalogue import Catalogue
catalogue = Catalogue.discover()
spec = catalogue.checks["pixels/clipped_share"]
owner = catalogue.owner(spec)
print(json.dumps({
    "title": spec.title,
    "owner": [owner.name, owner.distribution, owner.version, owner.error],
    "suite": catalogue.suites["pixels"].checks,
    "broken": [plugin.name for plugin in catalogue.plugins if plugin.name == "clipped-pixels" and plugin.error],
}))
"""
    found = json.loads(_python(installed, "-c", program))
    assert found == {
        "title": "Clipped pixels",
        "owner": ["clipped-pixels", "ldm-eval-clipped-pixels", "1.0.0", ""],
        "suite": ["pixels/*"],
        "broken": [],
    }


def test_the_check_of_an_installed_plugin_can_be_switched_off(installed: Path) -> None:
    program = (
        "from ldm_eval.hooks.catalogue import Catalogue\n"
        "print('pixels/clipped_share' in Catalogue.discover(disabled=['clipped-pixels']).checks)"
    )
    assert _python(installed, "-c", program).strip() == "False"


def test_the_plugin_s_own_tests_pass(installed: Path) -> None:
    out = _python(installed, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(EXAMPLE), str(EXAMPLE))
    assert "passed" in out
    assert "failed" not in out


def test_the_tutorial_shows_the_files_as_they_are() -> None:
    """Every fenced block under a line ``**`path`**`` is a piece of that file, so the tutorial cannot go stale."""
    lines = TUTORIAL.read_text().splitlines()
    shown = 0
    for number, line in enumerate(lines):
        if not (line.startswith("**`") and line.endswith("`**")):
            continue
        start = number + 2
        assert lines[start].startswith("```"), f"line {start + 1}: a code block should follow {line}"
        stop = lines.index("```", start + 1)
        text = (EXAMPLE / line.strip("*`")).read_text()
        for piece in "\n".join(lines[start + 1 : stop]).split("\n    ...\n"):
            assert piece.strip("\n") in text, f"the tutorial's {line} differs from the file:\n{piece}"
        shown += 1
    assert shown >= 4


def test_the_check_of_an_installed_plugin_runs_like_our_own(installed: Path, tmp_path: Path) -> None:
    _python(
        installed,
        *("-m", "ldm_eval", "run", "--model", "phantom:gaussian?shape=3x32x32&mean=0.9&std=0.2", "--suite", "pixels"),
        *("--data", "portraits", "--samples", "100", "--steps", "5", "--threads", "1"),
        *("--output", str(tmp_path / "run")),
    )
    document = json.loads((tmp_path / "run" / "results.json").read_text())
    assert {item["check"] for item in document["measurements"]} == {"pixels/clipped_share"}
    assert [plugin["distribution"] for plugin in document["plugins"]] == ["ldm-eval-clipped-pixels"]
    assert "Clipped pixels" in (tmp_path / "run" / "MODEL_CARD.md").read_text()
