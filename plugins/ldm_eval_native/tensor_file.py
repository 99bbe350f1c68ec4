"""A nested document of plain values and tensors as a safetensors file.

The file is what every reader of safetensors expects: tensors under names made from their paths, e.g.
``weights/entry.bias``. Plain values stand as one JSON text in the header's metadata, where a tensor's place is held by
``{"$tensor": name}``, a tuple by ``{"$tuple": [...]}``, a mapping with other keys than texts by
``{"$items": [[key, value], ...]}`` and a number that is not finite by ``{"$float": "nan"}``. One metadata entry, since
their order in a header is not promised.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

import torch

__all__ = ["decode", "encode", "header_end", "header_fits", "looks_like", "spells"]

_DOCUMENT = "ldm-eval"
"""Key of the metadata that holds the plain values."""
_METADATA = "__metadata__"
_LARGEST_HEADER = 16 << 20  # ours are some tens of kilobytes; a long history of losses adds up to a megabyte
_LARGEST_DIMENSION = 1 << 31
_DEEPEST = 32
_BYTES: Mapping[str, int] = {
    "BOOL": 1, "U8": 1, "I8": 1, "U16": 2, "I16": 2, "I32": 4, "I64": 8, "F16": 2, "BF16": 2, "F32": 4, "F64": 8,
}  # fmt: skip


def looks_like(start: bytes) -> bool:
    """True when the first nine bytes are those of a safetensors file: the length of a header, and its brace."""
    return len(start) >= 9 and start[8:9] == b"{" and int.from_bytes(start[:8], "little") < 1 << 40


def spells(data: bytes, format_name: str) -> bool:
    """True when the header spells ``format_name``; ``data`` need not hold more than the header."""
    length = int.from_bytes(data[:8], "little")
    return looks_like(data[:9]) and length <= _LARGEST_HEADER and format_name.encode() in data[8 : 8 + length]


def header_end(start: bytes) -> int:
    """How many bytes of a file ``spells`` needs to see; nothing beyond the largest header."""
    return min(8 + int.from_bytes(start[:8], "little"), 8 + _LARGEST_HEADER)


def header_fits(data: bytes) -> bool:
    """True when the header is within the file and within what is read."""
    return int.from_bytes(data[:8], "little") <= min(_LARGEST_HEADER, len(data) - 8)


def encode(document: Mapping[str, Any]) -> bytes:
    """The bytes of a file that holds ``document``: the same for equal documents.

    Raises:
        TypeError: for a value that is neither plain nor a tensor.
        ValueError: when the plain values exceed what ``decode`` reads, or a mapping nests too deeply.
    """
    from safetensors.torch import save

    tensors: dict[str, torch.Tensor] = {}
    text = json.dumps(_plain(document, (), tensors), ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    data: bytes = save(tensors, {_DOCUMENT: text})
    if int.from_bytes(data[:8], "little") > _LARGEST_HEADER:
        raise ValueError(f"{len(text):,} characters of plain values are more than a header may hold")
    return data


def _plain(value: Any, path: tuple[str, ...], tensors: dict[str, torch.Tensor]) -> Any:
    if len(path) > _DEEPEST:
        raise ValueError(f"the values nest more than {_DEEPEST} deep")
    if isinstance(value, torch.Tensor):
        name = _free_name("/".join(path), tensors)
        tensors[name] = value.detach().cpu().contiguous().clone()  # the format knows no shared memory
        return {"$tensor": name}
    if isinstance(value, Mapping):
        items = [(key, _plain(item, (*path, str(key)), tensors)) for key, item in value.items()]
        if all(isinstance(key, str) and not key.startswith("$") for key, _ in items):
            return dict(items)
        return {"$items": [[_plain(key, path, tensors), item] for key, item in items]}
    if isinstance(value, list | tuple):
        parts = [_plain(item, (*path, str(i)), tensors) for i, item in enumerate(value)]
        return parts if isinstance(value, list) else {"$tuple": parts}
    if isinstance(value, float) and not math.isfinite(value):
        return {"$float": str(float(value))}
    if value is None or isinstance(value, str | bool | int | float):
        return value
    raise TypeError(f"{'/'.join(path)} is a {type(value).__name__}: neither a plain value nor a tensor")


def _free_name(wanted: str, taken: Mapping[str, Any]) -> str:
    """``wanted``, or with a number when another path reads the same (keys 1 and "1") or the name is reserved."""
    name, number = wanted, 1
    while name in taken or name == _METADATA:
        number += 1
        name = f"{wanted}~{number}"
    return name


def decode(data: bytes) -> Any:
    """The document in a file that somebody else may have made: checked in full before any tensor is built.

    Raises:
        ValueError: saying what is wrong with the file.
        RecursionError: for a JSON text that nests absurdly.
    """
    from safetensors.torch import load

    document, entries = _header(data)
    _check_layout(entries, len(data) - 8 - int.from_bytes(data[:8], "little"))
    tensors = load(data)
    missing = dict(tensors)
    result = _nested(document, missing, 0)
    if missing:
        raise ValueError(f"{len(missing)} tensors have no place in the document (first: '{min(missing)}')")
    return result


def _header(data: bytes) -> tuple[Any, dict[str, Any]]:
    """The document's JSON and the description of each tensor."""
    length = int.from_bytes(data[:8], "little")
    if len(data) < 9 or length > _LARGEST_HEADER:
        raise ValueError(f"its header would have {length:,} bytes; at most {_LARGEST_HEADER:,} are read")
    if 8 + length > len(data):
        raise ValueError(f"it is cut off: the header alone has {length:,} bytes, the file {len(data):,}")
    entries = _json(data[8 : 8 + length], "header")
    metadata = entries.pop(_METADATA, None) if isinstance(entries, dict) else None
    if not isinstance(metadata, dict) or not isinstance(metadata.get(_DOCUMENT), str):
        raise ValueError(f"its header has no '{_DOCUMENT}' entry")
    return _json(metadata[_DOCUMENT].encode(errors="surrogatepass"), "document"), entries


def _json(text: bytes, what: str) -> Any:
    try:
        return json.loads(text.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        raise ValueError(f"its {what} is not UTF-8") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"its {what} is not JSON: {error}") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"the name '{twice[:80]}' stands twice in it")
    return result


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number of JSON")


def _check_layout(entries: dict[str, Any], available: int) -> None:
    """Every tensor's bytes are where they should be, of the length its shape says, and nothing lies between them."""
    spans = sorted(_span(name, entry) for name, entry in entries.items())
    position = 0
    for begin, end, name in spans:
        if begin != position:
            raise ValueError(f"the bytes of the tensor '{name[:80]}' overlap others or leave a gap before them")
        position = end
    if position != available:
        raise ValueError(f"its tensors take {position:,} bytes and the file holds {available:,} (is it cut off?)")


def _span(name: str, entry: Any) -> tuple[int, int, str]:
    shown = name[:80]
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"the tensor '{shown}' is not described by dtype, shape and data_offsets")
    if not isinstance(entry["dtype"], str) or entry["dtype"] not in _BYTES:
        raise ValueError(f"the tensor '{shown}' is of the unknown dtype {str(entry['dtype'])[:40]!r}")
    shape, offsets = entry["shape"], entry["data_offsets"]
    if not _counts(shape) or len(shape) > 16 or any(size > _LARGEST_DIMENSION for size in shape):
        raise ValueError(f"the tensor '{shown}' has the impossible shape {str(shape)[:80]}")
    if not _counts(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise ValueError(f"the tensor '{shown}' has impossible data_offsets {str(offsets)[:80]}")
    begin, end = offsets
    if math.prod(shape) * _BYTES[entry["dtype"]] != end - begin:
        raise ValueError(f"the tensor '{shown}' has {end - begin:,} bytes, which is not what its shape needs")
    return begin, end, name


def _counts(value: Any) -> bool:
    return isinstance(value, list) and all(type(item) is int and item >= 0 for item in value)


def _nested(value: Any, tensors: dict[str, torch.Tensor], depth: int) -> Any:
    """Undo ``_plain``, taking each tensor out of ``tensors``."""
    if depth > 2 * _DEEPEST + 4:  # a marker is one level more
        raise ValueError(f"its document nests more than {_DEEPEST} deep")
    if isinstance(value, list):
        return [_nested(item, tensors, depth + 1) for item in value]
    if not isinstance(value, dict):
        return value
    marks = [key for key in value if key.startswith("$")]
    if not marks:
        return {key: _nested(item, tensors, depth + 1) for key, item in value.items()}
    if len(value) != 1 or marks[0] not in ("$tensor", "$tuple", "$items", "$float"):
        raise ValueError(f"its document has an entry '{marks[0][:40]}' that means nothing")
    return _unmarked(marks[0], value[marks[0]], tensors, depth)


def _unmarked(mark: str, value: Any, tensors: dict[str, torch.Tensor], depth: int) -> Any:
    if mark == "$tensor":
        if not isinstance(value, str) or value not in tensors:
            raise ValueError(f"its document asks for the tensor {str(value)[:80]!r}, which is not there or used twice")
        return tensors.pop(value)
    if mark == "$float" and value in ("nan", "inf", "-inf"):
        return float(value)
    items = [_nested(item, tensors, depth + 1) for item in value] if isinstance(value, list) else None
    if mark == "$tuple" and items is not None:
        return tuple(items)
    if mark == "$items" and items is not None and all(isinstance(item, list) and len(item) == 2 for item in items):
        try:
            result = dict(items)
        except TypeError as error:
            raise ValueError("its document has a key that cannot be one") from error
        if len(result) == len(items):
            return result
    raise ValueError(f"its document has an entry '{mark}' that cannot be read")
