from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def wheel(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Names in the wheel built from the tree; built in a copy, so that no build folder is left behind."""
    import shutil

    copy = tmp_path_factory.mktemp("tree") / "tree"
    left_out = (".git", ".tox", ".venv*", "build", "*.egg-info", "reports", "__pycache__", ".*_cache")
    shutil.copytree(repository, copy, ignore=shutil.ignore_patterns(*left_out))
    target = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-w", str(target), str(copy)]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    with zipfile.ZipFile(next(target.glob("*.whl"))) as archive:
        return archive.namelist()


def test_the_wheel_holds_every_package_of_the_tree(wheel: list[str], repository: Path) -> None:
    sources = [*(repository / "ldm_eval").rglob("*.py"), *(repository / "plugins").glob("ldm_eval_*/**/*.py")]
    wanted = {
        path.relative_to(repository).as_posix().removeprefix("plugins/")
        for path in sources
        if "__pycache__" not in path.parts
    }
    assert wanted <= set(wheel)


def test_the_wheel_holds_the_demo_and_the_type_marker(wheel: list[str]) -> None:
    shipped = ("demo.pt", "classifier.npz", "policy.toml")
    for name in ("ldm_eval/py.typed", *(f"ldm_eval_demo/{file}" for file in shipped)):
        assert name in wheel


def test_the_wheel_holds_every_template_of_a_new_plugin(wheel: list[str], repository: Path) -> None:
    templates = list((repository / "ldm_eval/testing/scaffold/templates").iterdir())
    assert templates
    assert {path.relative_to(repository).as_posix() for path in templates} <= set(wheel)


def test_the_wheel_holds_nothing_else(wheel: list[str]) -> None:
    tops = {name.split("/")[0] for name in wheel}
    plugins = {f"ldm_eval_{name}" for name in ("native", "images", "features", "quality", "privacy", "fairness")}
    packages = {"ldm_eval", *plugins, "ldm_eval_misuse", "ldm_eval_demo"}
    assert {top for top in tops if not top.endswith(".dist-info")} == packages
    assert not [name for name in wheel if "test_" in name or name.endswith((".pyc", ".state.pt"))]


def test_the_shipped_checkpoint_is_small(repository: Path) -> None:
    assert (repository / "plugins/ldm_eval_demo/demo.pt").stat().st_size <= 9_000_000
