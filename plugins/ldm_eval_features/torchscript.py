"""Weights out of a TorchScript archive, without compiling or running any of the code in it.

An archive of ``torch.jit.save`` is a zip: ``data.pkl`` describes a tree of modules whose tensors lie uncompressed
under ``data/``. ``torch.load(weights_only=True)`` refuses such files and ``torch.jit.load`` would compile their code;
here the description is read by an unpickler that knows six harmless names and makes nothing but records and tensors.
"""

from __future__ import annotations

import collections
import pickle
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

_DESCRIPTION = "/data.pkl"
_LARGEST_DESCRIPTION = 1 << 26
_DTYPES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "BoolStorage": torch.bool,
}
_LISTS = ("build_intlist", "build_tensorlist", "build_doublelist", "build_boollist")


def is_torchscript(path: Path) -> bool:
    """True for a zip with both a description of modules and the code of their classes."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    return any(name.endswith(_DESCRIPTION) for name in names) and any("/code/" in name for name in names)


def read_torchscript(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of all modules under the names that ``state_dict`` gives them.

    Raises:
        pickle.UnpicklingError: the description names anything that is not expected.
        ValueError: a tensor that does not lie inside its bytes, a compressed or oversized description.
        KeyError: bytes that are missing.
    """
    with zipfile.ZipFile(path) as archive:
        name = next(name for name in archive.namelist() if name.endswith(_DESCRIPTION))
        if archive.getinfo(name).file_size > _LARGEST_DESCRIPTION:
            raise ValueError("its description is larger than any network's")
        with archive.open(name) as stream:
            root = _Description(stream, archive, name.removesuffix(_DESCRIPTION)).load()
    tensors: dict[str, torch.Tensor] = {}
    _collect(root, "", tensors, depth=0)
    return tensors


class _Record:
    """A module of the archive: what it holds, by name."""

    def __init__(self) -> None:
        self.fields: Mapping[str, Any] = {}

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, dict):
            raise pickle.UnpicklingError("a module without named fields")
        self.fields = state


@dataclass(frozen=True, slots=True)
class _Storage:
    """Flat numbers, ``(n,)``."""

    values: torch.Tensor


class _Description(pickle.Unpickler):
    """Reads ``data.pkl``; every name outside a short list is refused before anything is done with it."""

    def __init__(self, stream: Any, archive: zipfile.ZipFile, prefix: str) -> None:
        super().__init__(stream)
        self._archive, self._prefix = archive, prefix
        self._storages: dict[str, _Storage] = {}
        self._record = type("Record", (_Record,), {})  # its own, so that nothing outlives the reading

    def find_class(self, module: str, name: str) -> Any:
        """Stand-ins for the names that an archive of a network may use."""
        if module == "__torch__" or module.startswith("__torch__."):
            return self._record
        if module == "torch" and name in _DTYPES:
            return name
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda *arguments: _tensor(*arguments)
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if module == "torch.jit._pickle" and name in _LISTS:
            return lambda values: list(values)
        raise pickle.UnpicklingError(f"it names {module}.{name}, which no weights need")

    def persistent_load(self, pid: Any) -> _Storage:
        """The numbers behind ``("storage", type, key, device, n)``; devices are ignored."""
        kind, dtype, key, _, count = pid
        if kind != "storage" or dtype not in _DTYPES:
            raise pickle.UnpicklingError(f"it refers to {kind!r} {dtype!r}")
        if str(key) not in self._storages:
            data = bytearray(self._archive.read(f"{self._prefix}/data/{key}"))
            values = torch.frombuffer(data, dtype=_DTYPES[dtype]) if data else torch.empty(0, dtype=_DTYPES[dtype])
            if len(values) != count:
                raise ValueError(f"data/{key} holds {len(values)} numbers, {count} were announced")
            self._storages[str(key)] = _Storage(values)
        return self._storages[str(key)]


def _tensor(storage: _Storage, offset: int, size: Sequence[int], stride: Sequence[int], *_: object) -> torch.Tensor:
    """A tensor over ``storage``; refused when it would reach outside."""
    if min([offset, *size, *stride], default=0) < 0 or len(size) != len(stride):
        raise ValueError("a tensor with a negative offset, size or stride")
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
    if 0 not in size and last >= len(storage.values):
        raise ValueError("a tensor reaches beyond its bytes")
    return storage.values.as_strided(tuple(size), tuple(stride), offset)


def _collect(value: Any, name: str, found: dict[str, torch.Tensor], depth: int) -> None:
    if depth > 100:
        raise ValueError("its modules are nested deeper than any network's")
    if isinstance(value, torch.Tensor):
        found[name] = value
    elif isinstance(value, _Record):
        for field, inner in value.fields.items():
            _collect(inner, f"{name}.{field}" if name else str(field), found, depth + 1)
