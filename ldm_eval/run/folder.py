"""The folder of a run: what lies where, whose it is, and whether it may be gone on with."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ldm_eval.errors import ConfigError, StoreError
from ldm_eval.store.atomic import canonical_json, read_json, write_json
from ldm_eval.store.contributions import FOLDER

__all__ = ["RunFolder", "open_folder"]

_OURS = (
    "results.json",
    "samples",
    "figures",
    "work",
    "private",
    FOLDER,
    "gate.json",
    "calibration.json",
    "MODEL_CARD.md",
    "declared.json",
    "worker.log",
    "events.jsonl",
    "run.json",
)
"""In the order they are removed: what says "finished" first, what says "this folder is ours" last."""


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Paths inside one run folder."""

    path: Path

    @property
    def samples(self) -> Path:
        """Shards of generated images."""
        return self.path / "samples"

    @property
    def work(self) -> Path:
        """What checks read; removed when the run is finished."""
        return self.path / "work"

    @property
    def private(self) -> Path:
        """Evidence that shows training images; never part of the card."""
        return self.path / "private"

    @property
    def contributions(self) -> Path:
        """What each image contributed to each measurement."""
        return self.path / FOLDER

    @property
    def results(self) -> Path:
        """results.json."""
        return self.path / "results.json"

    @property
    def events(self) -> Path:
        """events.jsonl."""
        return self.path / "events.jsonl"

    @property
    def finished(self) -> bool:
        """True when results.json is there."""
        return self.results.is_file()


@contextlib.contextmanager
def open_folder(
    path: Path, identity: Mapping[str, Any], *, resume: bool, also: tuple[str, ...] = ()
) -> Iterator[RunFolder]:
    """Make or re-enter the folder of a run and keep every other run out of it.

    Args:
        path: The folder.
        identity: What decides the numbers (settings, model and data digests); kept in ``run.json``.
        resume: Go on with what is there; otherwise start over and remove what an earlier run left.
        also: Names and patterns of what this command writes beside the usual files; removed too when it starts over.

    Raises:
        ConfigError: when the folder holds something else, or a run with another identity (the difference is listed).
        StoreError: when it cannot be written, or another run is using it.
    """
    folder = RunFolder(path)
    wanted = _plain(identity)
    _refuse_foreign(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"Cannot make the output folder {path}: {error.strerror or error}.") from error
    with _locked(path / ".lock"):
        record = path / "run.json"
        if record.is_file() and resume:
            _refuse_difference(path, read_json(record), wanted)
        else:
            _clear(path, also)
            write_json(record, wanted)
        yield folder


def _plain(value: Mapping[str, Any]) -> Any:
    """The value as JSON gives it back, so that it can be compared with what is on disk."""
    import json

    return json.loads(canonical_json(value))


def _refuse_foreign(path: Path) -> None:
    if path.exists() and not path.is_dir():
        raise ConfigError(f"The output {path} is a file; name a folder.")
    if not path.is_dir() or (path / "run.json").is_file():
        return
    foreign = [item.name for item in path.iterdir() if item.name not in (".lock", ".gitignore")]
    if foreign:
        raise ConfigError(
            f"The output folder {path} holds files of something else ({', '.join(sorted(foreign)[:3])}); "
            "name a new or empty folder."
        )


def _refuse_difference(path: Path, found: Any, wanted: Any) -> None:
    before, now = _flat(found), _flat(wanted)
    lines = [
        f"  {key}: was {before.get(key, 'not set')!r}, is now {now.get(key, 'not set')!r}"
        for key in sorted({*before, *now})
        if before.get(key) != now.get(key)
    ]
    if lines:
        listed = "\n".join(lines)
        raise ConfigError(
            f"{path} holds a run with other settings:\n{listed}\n"
            "Use the same settings to go on, another --output, or --no-resume to start over."
        )


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, dict) or not value:
        return {prefix: value}
    flat: dict[str, Any] = {}
    for key, item in value.items():
        flat |= _flat(item, f"{prefix}.{key}" if prefix else str(key))
    return flat


def _clear(path: Path, also: tuple[str, ...]) -> None:
    for item in [found for name in (*also, *_OURS) for found in sorted(path.glob(name))]:
        try:
            if item.is_dir() and not item.is_symlink():
                shutil.rmtree(item)
            else:
                item.unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(f"Cannot remove {item} of an earlier run: {error.strerror or error}.") from error


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold an advisory lock; where the system has none (not POSIX), go on without."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    try:
        stream = path.open("w")
    except OSError as error:
        raise StoreError(f"Cannot write in {path.parent}: {error.strerror or error}.") from error
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _refuse_removed(stream, path)
        except BlockingIOError:
            raise StoreError(
                f"Another run is writing in {path.parent}; wait for it or name another --output."
            ) from None
        except OSError:  # a file system without locks
            pass
        yield
        path.unlink(missing_ok=True)  # while it is held: whoever opened it meanwhile sees that it is gone


def _refuse_removed(stream: IO[str], path: Path) -> None:
    """Raises BlockingIOError when the file that was locked is no longer the one at ``path``: its owner removed it."""
    if not path.exists() or not os.path.samestat(os.fstat(stream.fileno()), path.stat()):
        raise BlockingIOError
