"""Plain values that stand in a file somebody else may have made, read as the types that they should have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar, get_args, get_type_hints

__all__ = ["read_entry", "whole_values"]

_T = TypeVar("_T")


def whole_values(values: Any) -> tuple[int, ...]:
    """A list or tuple of whole numbers as a tuple. Raises TypeError for anything else, 8.0 and true included."""
    if not isinstance(values, list | tuple) or not all(type(value) is int for value in values):
        raise TypeError(f"{str(values)[:80]} is no list of whole numbers")
    return tuple(values)


def read_entry(kind: type[_T], entry: Mapping[str, Any]) -> _T:
    """``kind(**entry)``, once every value has the type that the dataclass ``kind`` declares for it.

    Python does not look: a float among the whole numbers would be found by whoever allocates with it.

    Raises:
        TypeError: for a value of another type, or a name that ``kind`` lacks or misses.
        ValueError: when ``entry`` is no mapping.
    """
    values, types = dict(entry), get_type_hints(kind)
    for name, value in values.items():
        if name in types and not _fits(value, types[name]):
            raise TypeError(f"{name} is {str(value)[:80]!r}, a {type(value).__name__}")
    return kind(**values)


def _fits(value: Any, wanted: Any) -> bool:
    if get_args(wanted):  # tuple[int, ...] and the like, read by whole_values
        return isinstance(value, tuple)
    if wanted is float:
        return type(value) in (int, float)
    return type(value) is wanted
