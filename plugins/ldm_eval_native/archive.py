"""Files of plain values and tensors, written atomically and read without ever running what they contain."""

from __future__ import annotations

import hashlib
import io
import pickle
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ldm_eval.errors import ModelError, StoreError
from ldm_eval_native import tensor_file
from ldm_eval_native.atomic import write_bytes

__all__ = ["Archive", "names_format", "read_archive", "write_archive"]

_ZIP_MAGIC = b"PK\x03\x04"
_SAFETENSORS = ".safetensors"
_LARGEST_INDEX = 16 << 20  # our own indices are a few kilobytes


@dataclass(frozen=True, slots=True, eq=False)
class Archive:
    """What was in a file: plain values and tensors, and the SHA-256 (hex) of the file's bytes."""

    document: dict[str, Any]
    sha256: str


def write_archive(path: Path, document: dict[str, Any]) -> str:
    """Write ``document`` to ``path`` (temporary file, fsync, rename) and return its SHA-256.

    A name that ends in ``.safetensors`` gets that format, any other an archive of ``torch.save``. Beside that choice
    the bytes depend on the document alone: not on the file's name, not on the clock.

    Raises:
        StoreError: when the disk is full or the folder cannot be written, or the format cannot hold the document; an
            earlier file is left as it was.
    """
    data = _safetensors(path, document) if path.suffix.lower() == _SAFETENSORS else _torch_archive(document)
    write_bytes(path, data)
    return hashlib.sha256(data).hexdigest()


def _safetensors(path: Path, document: dict[str, Any]) -> bytes:
    try:
        return tensor_file.encode(document)
    except ValueError as error:
        raise StoreError(
            f"{path} cannot be written as safetensors: {error}. Choose an --output ending in .pt."
        ) from error


def _torch_archive(document: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    torch.save(_canonical(document), buffer)
    return buffer.getvalue()


def _canonical(value: Any) -> Any:
    """Rebuild plain containers with interned strings: pickle abbreviates by object identity, not by equality."""
    if isinstance(value, dict):
        return {_canonical(key): _canonical(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_canonical(item) for item in value]
    if isinstance(value, tuple):
        return tuple(_canonical(item) for item in value)
    return sys.intern(value) if isinstance(value, str) else value


def names_format(path: Path, format_name: str) -> bool:
    """True when the index or header of ``path`` spells ``format_name``, whatever its suffix; nothing is unpickled."""
    try:
        with path.open("rb") as file:
            start = file.read(9)
            if tensor_file.looks_like(start):
                return tensor_file.spells(start + file.read(tensor_file.header_end(start) - len(start)), format_name)
        return start.startswith(_ZIP_MAGIC) and _index_spells(path, format_name)
    except (OSError, zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError, ValueError):
        return False


def _index_spells(path: Path, format_name: str) -> bool:
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            return False  # torch.save packs nothing; what is packed may unpack to anything
        for entry in entries:
            if entry.filename.rpartition("/")[2] == "data.pkl" and entry.file_size <= _LARGEST_INDEX:
                with archive.open(entry) as index:
                    return format_name.encode() in index.read(_LARGEST_INDEX)
    return False


def _readable(path: Path, what: str) -> None:
    if not path.exists():
        raise ModelError(f"There is no file {path}, which was to be read as {what}. Check the path.")
    if not path.is_file():
        raise ModelError(f"{path} is a folder, not {what}. Name the file itself.")


def _is_safetensors(path: Path, data: bytes) -> bool:
    if data.startswith(_ZIP_MAGIC):
        return False
    return tensor_file.looks_like(data[:9]) or path.suffix.lower() == _SAFETENSORS


def _first_look(path: Path, data: bytes, format_name: str, what: str) -> None:
    """Refuse, before anything is unpickled, what is not a file of ours."""
    if not data:
        raise ModelError(f"{path} is empty; {what} was expected. Copy or train it again.")
    if _is_safetensors(path, data):
        if not tensor_file.looks_like(data[:9]):
            raise ModelError(
                f"{path} is not {what}: its name ends in {_SAFETENSORS} and its content is something else, or the "
                "header is damaged. Nothing in it was executed. Copy it again."
            )
        if not tensor_file.header_fits(data):
            return  # decoding says what is wrong with it
    elif not data.startswith(_ZIP_MAGIC):
        raise ModelError(
            f"{path} is not {what}: it is no archive of tensors. If it is a bare pickle, it was not opened and nothing "
            "in it was executed; only checkpoints written by 'ldm-eval train' can be loaded here."
        )
    elif not zipfile.is_zipfile(io.BytesIO(data)):
        raise ModelError(
            f"{path} is cut off or damaged ({len(data):,} bytes; the archive's end is missing). Copy it again."
        )
    if not names_format(path, format_name):
        raise ModelError(
            f"{path} is not {what}: it does not name the format '{format_name}', so it holds another library's weights "
            "or another architecture. Load it with the backend it was made for (--backend), or train one with "
            "'ldm-eval train'."
        )


def read_archive(path: Path, format_name: str, what: str) -> Archive:
    """Read a file of plain values and tensors; never anything else, and never with a fallback.

    Args:
        path: File to read.
        format_name: What its ``"format"`` entry must say.
        what: What it should be, for messages, e.g. ``"a checkpoint of ldm-eval"``.

    Raises:
        ModelError: for a file that is missing, empty, cut off, of another kind, or that wants to run code.
    """
    _readable(path, what)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror or error}.") from error
    _first_look(path, data, format_name, what)
    try:
        if _is_safetensors(path, data):
            document = tensor_file.decode(data)
        else:
            document = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"{path} was refused: it holds more than tensors and plain values, so opening it would run code of whoever "
            "made it. Nothing in it was executed, and there is no switch to allow it. Ask for plain weights."
        ) from error
    except Exception as error:  # whatever the reader of a file that we did not write stumbles over, it is the file
        raise ModelError(
            f"{path} is damaged and cannot be read as {what}: {_first_line(error)}. Copy it again."
        ) from error
    if not isinstance(document, dict) or document.get("format") != format_name:
        raise ModelError(f"{path} is not {what}: its format entry is not '{format_name}'. Train it again.")
    return Archive(document, hashlib.sha256(data).hexdigest())


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
