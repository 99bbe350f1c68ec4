"""One set of names for weights that are published under several."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch


def renamed(tensors: Mapping[str, torch.Tensor], rules: tuple[tuple[str, str], ...]) -> dict[str, torch.Tensor]:
    """Every rule (pattern, replacement) applied to every name, in order; a name that no rule knows stays."""
    result: dict[str, torch.Tensor] = {}
    for name, tensor in tensors.items():
        new = name
        for pattern, replacement in rules:
            new = re.sub(pattern, replacement, new)
        result[new] = tensor
    return result


def packed(
    tensors: Mapping[str, torch.Tensor], marker: str, parts: tuple[tuple[str, ...], ...], target: str
) -> dict[str, torch.Tensor]:
    """Three projections of one layer as one: queries, keys and values below each other.

    Args:
        tensors: Weights by name.
        marker: What stands before the name of a part, e.g. ``".attn."``.
        parts: The names that queries, keys and values may have.
        target: What takes the place of the part's name and the dot behind it.
    """
    result: dict[str, torch.Tensor] = {}
    found: dict[str, list[torch.Tensor | None]] = {}
    places = {name: place for place, names in enumerate(parts) for name in names}
    for name, tensor in tensors.items():
        head, mark, tail = name.partition(marker)
        part, _, kind = tail.partition(".")
        if mark and part in places:
            found.setdefault(f"{head}{marker}{target}{kind}", [None] * len(parts))[places[part]] = tensor
        else:
            result[name] = tensor
    for name, three in found.items():
        whole = [tensor for tensor in three if tensor is not None]
        if len(whole) == len(parts):
            result[name] = torch.cat(whole)
    return result
