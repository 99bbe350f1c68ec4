"""Whose a run folder is: locks, and the order in which an earlier run is removed."""

from __future__ import annotations

import errno
import fcntl
from pathlib import Path
from typing import IO

import pytest

from ldm_eval.errors import StoreError
from ldm_eval.run import folder as module
from ldm_eval.run.folder import open_folder


def test_a_lock_whose_owner_just_removed_it_is_not_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = fcntl.flock

    def after_its_owner_left(stream: IO[str], how: int) -> None:
        (tmp_path / "run" / ".lock").unlink()
        (tmp_path / "run" / ".lock").touch()  # a third run is quicker
        real(stream, how)

    monkeypatch.setattr(fcntl, "flock", after_its_owner_left)
    with pytest.raises(StoreError, match="Another run is writing"), open_folder(tmp_path / "run", {}, resume=True):
        pass


def test_a_file_system_without_locks_is_used_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(stream: IO[str], how: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with open_folder(tmp_path / "run", {"a": 1}, resume=True) as folder:
        assert (folder.path / "run.json").is_file()


def test_a_removal_that_is_cut_short_can_be_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_folder(tmp_path / "run", {"a": 1}, resume=True) as folder:
        for path in (folder.results, folder.path / "MODEL_CARD.md"):
            path.write_text("{}")
        folder.samples.mkdir()

    def cut(path: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module.shutil, "rmtree", cut)
        with pytest.raises(KeyboardInterrupt), open_folder(tmp_path / "run", {"a": 2}, resume=False):
            pass
    assert not folder.results.exists()
    with open_folder(tmp_path / "run", {"a": 2}, resume=False):
        assert sorted(path.name for path in folder.path.iterdir()) == [".lock", "run.json"]
