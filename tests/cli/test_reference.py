"""``ldm-eval reference`` as it is typed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ldm_eval.store.reference import read_reference

Call = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def images(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "faces.npz", pixels)
    return tmp_path / "faces.npz"


def test_it_says_what_it_wrote_and_only_that_on_stdout(call: Call, images: Path, tmp_path: Path) -> None:
    done = call("reference", "faces.npz", "--output", "r.npz", "--cache-dir", "cache", "--threads", "1", "--json")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    written = read_reference(tmp_path / "r.npz")
    assert (said["digest"], said["path"], said["count"]) == (written.digest, "r.npz", 6)
    assert said["bytes"] == (tmp_path / "r.npz").stat().st_size
    assert [one["name"] for one in said["extractors"]] == ["efficientnet-lite0"]
    again = ("reference", "faces.npz", "--output", "s.npz", "--cache-dir", "cache", "--threads", "1")
    people = call(*again, "--statistics-only", "--limit", "4")
    assert people.returncode == 0, people.stderr
    assert "Images: 4 of 1x8x8 from faces, digest " in people.stdout
    assert "Holds: statistics only" in people.stdout
    assert read_reference(tmp_path / "s.npz").digest in people.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("nothing", "--output", "r.npz"), "there is no such file or dataset"),
        (("faces.npz",), "--output"),
        (("faces.npz", "--output", "r.npz", "--limit", "1"), "--limit"),
    ],
)
def test_what_cannot_be_is_one_line_and_exit_code_2(
    call: Call, images: Path, arguments: tuple[str, ...], says: str
) -> None:
    done = call("reference", *arguments)
    assert done.returncode == 2, done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_its_help_loads_no_torch(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom ldm_eval.cli import main\n"
        "try:\n    main(['reference', '--help'])\nexcept SystemExit as leaving:\n    assert not leaving.code\n"
        "print([name for name in ('torch', 'scipy.stats', 'pandas', 'numpy') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
