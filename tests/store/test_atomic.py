"""A file is the old one or the new one, never half of one."""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest

from ldm_eval.errors import StoreError
from ldm_eval.store.atomic import (
    canonical_json,
    read_json,
    write_array,
    write_bytes,
    write_json,
    write_text,
    write_with,
)


def _raiser(code: int) -> Any:
    def fail(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    return fail


def test_what_is_written_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "file.json"
    write_json(path, {"b": [1, 2.5, None], "a": "ü"})
    assert read_json(path) == {"a": "ü", "b": [1, 2.5, None]}
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    write_text(path, "two\n")
    assert path.read_bytes() == b"two\n"
    assert [file.name for file in path.parent.iterdir()] == ["file.json"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_leaves_the_old_file_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    path = tmp_path / "file.txt"
    write_text(path, "old")
    monkeypatch.setattr(os, "fsync", _raiser(code))
    with pytest.raises(StoreError, match=r"The disk is full: could not write .*file\.txt\. What was already written"):
        write_text(path, "new")
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["file.txt"]
    assert StoreError.exit_code == 4


def test_a_full_disk_while_filling_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    write_bytes(path, b"old")

    def fill(stream: IO[bytes]) -> None:
        stream.write(b"half of the new one")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(StoreError, match="disk is full"):
        write_with(path, fill)
    assert path.read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_crash_while_filling_leaves_the_old_file_and_is_not_renamed(tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    write_bytes(path, b"old")

    def fill(stream: IO[bytes]) -> None:
        stream.write(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_with(path, fill)
    assert path.read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1


def test_other_failures_name_the_file_and_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match=r"Could not write .*inside: "):
        write_text(tmp_path / "file" / "inside", "x")
    monkeypatch.setattr(os, "fsync", _raiser(errno.EIO))
    with pytest.raises(StoreError, match=r"Could not write .*x: Input/output error"):
        write_text(tmp_path / "x", "x")


def test_canonical_json_depends_on_the_value_alone() -> None:
    assert canonical_json({"b": 1, "a": 0.1}) == canonical_json({"a": 0.1, "b": 1})
    value = 0.1 + 0.2
    assert json.loads(canonical_json([value])) == [value]
    assert canonical_json({"a": 1}, indent=None) == '{"a":1}'


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_json_refuses_what_is_no_number_and_keeps_the_old_file(tmp_path: Path, bad: float) -> None:
    path = tmp_path / "file.json"
    write_json(path, [1])
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, [bad])
    assert read_json(path) == [1]


def test_reading_what_is_missing_or_damaged_says_so(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="There is no file"):
        read_json(tmp_path / "none.json")
    for content in (b'{"a": 1', b"\xff\xfe\x00"):
        (tmp_path / "bad.json").write_bytes(content)
        with pytest.raises(StoreError, match="not valid JSON"):
            read_json(tmp_path / "bad.json")
    with pytest.raises(StoreError, match="Could not read"):
        read_json(tmp_path)


def test_an_array_is_read_back_as_a_memory_map(tmp_path: Path) -> None:
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4).transpose(0, 2, 1)
    write_array(tmp_path / "a.npy", array)
    assert np.array_equal(np.load(tmp_path / "a.npy", mmap_mode="r"), array)


def test_an_array_that_does_not_fit_says_why(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(StoreError, match=r"Could not write .*a\.npy: File too large"):
            write_array(tmp_path / "a.npy", np.zeros(100_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list(tmp_path.iterdir())
