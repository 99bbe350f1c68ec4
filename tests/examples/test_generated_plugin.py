"""``ldm-eval plugins new`` gives a package that installs, proves itself, and measures a model as it stands."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Call = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a new plugin."""
    folder = tmp_path_factory.mktemp("generated")
    done = _python([], folder, "-m", "ldm_eval", "plugins", "new", "blank-images")
    assert done.returncode == 0, done.stderr
    assert str(Path("blank-images/README.md")) in done.stdout
    return folder / "blank-images"


@pytest.fixture(scope="module")
def call(plugin: Path, tmp_path_factory: pytest.TempPathFactory) -> Call:
    """Runs Python with the plugin installed by pip, from a copy so that no build output is left in it."""
    source, site = tmp_path_factory.mktemp("source") / "copy", tmp_path_factory.mktemp("site")
    shutil.copytree(plugin, source)
    # No index is needed: --no-deps because ldm-eval is here already, --no-build-isolation because setuptools is.
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--target", str(site)]
    done = _python([], plugin, "-m", "pip", "install", *options, str(source))
    assert done.returncode == 0, done.stderr
    return lambda *arguments, cwd=plugin: _python([site], cwd, *arguments)


def _python(paths: list[Path], cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    inherited = filter(None, [os.environ.get("PYTHONPATH")])
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([*map(str, paths), *inherited]),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "OMP_NUM_THREADS": "1",
    }
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, env=environment, cwd=cwd, check=False
    )


def _commands(plugin: Path) -> list[str]:
    block = (plugin / "README.md").read_text().split("```")[1]
    return block.strip().splitlines()


def test_the_readme_begins_with_three_commands(plugin: Path) -> None:
    assert [shlex.split(command)[:2] for command in _commands(plugin)] == [
        ["pip", "install"],
        ["python", "-m"],
        ["ldm-eval", "run"],
    ]


def test_its_own_tests_pass(plugin: Path, call: Call) -> None:
    done = call(*shlex.split(_commands(plugin)[1])[1:], "-q", "-p", "no:cacheprovider")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"\b9 passed", done.stdout)


@pytest.mark.slow
def test_it_passes_strict_types(call: Call, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MYPYPATH", str(repository))  # mypy does not follow an editable install
    options = ["--strict", "--cache-dir", str(tmp_path), "--config-file", "pyproject.toml"]
    done = call("-m", "mypy", *options, "blank_images", "tests")
    assert done.returncode == 0, done.stdout + done.stderr


def test_it_is_listed_like_any_other(call: Call) -> None:
    plugins = json.loads(call("-m", "ldm_eval", "plugins", "--json").stdout)
    (record,) = [record for record in plugins if record["name"] == "blank-images"]
    assert (record["distribution"], record["version"], record["error"]) == ("ldm-eval-blank-images", "0.1.0", "")
    checks = json.loads(call("-m", "ldm_eval", "list", "checks", "--json").stdout)
    (check,) = [check for check in checks if check["name"] == "blank_images/blank_share"]
    assert check["plugin"] == "blank-images"


@pytest.mark.parametrize(("spread", "share", "low", "high"), [(0.25, 0.0, 0.0, 0.0362), (0.001, 1.0, 0.9638, 1.0)])
def test_a_run_measures_it(
    spread: float, share: float, low: float, high: float, plugin: Path, call: Call, tmp_path: Path
) -> None:
    command = [word.replace("std=0.25", f"std={spread}") for word in shlex.split(_commands(plugin)[2])]
    done = call("-m", "ldm_eval", *command[1:], "--threads", "1", "--output", str(tmp_path / "run"), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (measured,) = json.loads((tmp_path / "run" / "results.json").read_text())["measurements"]
    assert (measured["check"], measured["name"]) == ("blank_images/blank_share", "blank_share")
    assert (measured["value"], measured["n"]) == (share, 100)
    assert (measured["low"], measured["high"]) == (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))
    assert "Blank images" in (tmp_path / "run" / "MODEL_CARD.md").read_text()


def test_it_is_calibrated_and_planned_like_any_other(plugin: Path, call: Call, tmp_path: Path) -> None:
    name = "blank_images/blank_share"
    done = call("-m", "ldm_eval", "calibrate", "--checks", name, "--output", str(tmp_path / "c.json"), cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    certificate = json.loads((tmp_path / "c.json").read_text())
    (instrument,) = certificate["instruments"]
    assert (instrument["name"], instrument["verdict"]) == (name, "calibrated")
    assert {plugin["distribution"]: plugin["version"] for plugin in certificate["plugins"]} == {
        "ldm-eval-blank-images": "0.1.0"
    }
    rule = f'[[rules]]\nid = "blank"\ncheck = "{name}"\nmeasurement = "blank_share"\nat_most = 0.05\n'
    policy = 'schema_version = 1\nname = "p"\nrequire_calibration = true\n' + rule
    (tmp_path / "policy.toml").write_text(policy, encoding="utf-8")
    done = call("-m", "ldm_eval", "plan", "--policy", str(tmp_path / "policy.toml"), "--json", cwd=tmp_path)
    (planned,) = json.loads(done.stdout)["rules"]
    assert (planned["truth"], planned["answer"], planned["n"]) == (0.025, "pass", 661)
    run = [*shlex.split(_commands(plugin)[2])[1:], "--threads", "1", "--output", "run"]
    done = call("-m", "ldm_eval", *run, "--policy", "policy.toml", "--calibration", "c.json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_the_page_says_what_the_phantoms_gave(plugin: Path, call: Call) -> None:
    program = (
        "import json; from blank_images.blank_share import BlankShare; from ldm_eval.api import CheckSpec\n"
        "from ldm_eval.testing.conformance import assert_conforms\n"
        "report = assert_conforms(CheckSpec.of(BlankShare), seeds=400)\n"
        "print(json.dumps([[tally.alarms, tally.covered] for tally in (report.catches, report.leaves_alone)]))"
    )
    done = call("-c", program)
    assert done.returncode == 0, done.stderr
    page = " ".join((plugin / "docs" / "blank_share.md").read_text().split())
    for (alarms, covered), truth in zip(json.loads(done.stdout), ("5 %", "1 %"), strict=True):
        assert f"exceeds 1 % in {alarms} of 400, the interval holds {truth} in {covered}." in page


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("count, n = int(blank.sum()), len(blank)", "count, n = 0, len(blank)"),
        ("span <= grey_levels", "span > grey_levels"),
        ("span <= grey_levels", "span <= grey_levels + 2"),
        ("span <= grey_levels", "span <= grey_levels // 2"),
        ("clopper_pearson(count, n)", "clopper_pearson(100 * count, 100 * n)"),
    ],
    ids=["constant", "flipped", "generous", "strict", "narrow"],
)
def test_its_proof_fails_when_the_check_is_spoilt(right: str, wrong: str, plugin: Path, tmp_path: Path) -> None:
    shutil.copytree(plugin, tmp_path / "copy")
    source = tmp_path / "copy" / "blank_images" / "blank_share.py"
    text = source.read_text()
    assert text.count(right) == 1
    source.write_text(text.replace(right, wrong))
    done = _python([], tmp_path / "copy", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "conforms")
    assert done.returncode == 1, done.stdout
    assert "blank_images/blank_share: does not conform" in done.stdout
