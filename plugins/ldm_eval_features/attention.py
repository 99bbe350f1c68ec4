"""Scaled dot-product attention over a packed projection, as every vision transformer here uses it."""

from __future__ import annotations

import torch
from torch.nn.functional import scaled_dot_product_attention


def attend(packed: torch.Tensor, heads: int, *, causal: bool = False) -> torch.Tensor:
    """``(N, T, 3 D)`` queries, keys and values side by side -> ``(N, T, D)`` (arXiv:1706.03762).

    Args:
        packed: Queries, keys and values of all heads, in this order.
        heads: Into how many parts of D / heads the attention is split.
        causal: True when a token sees itself and those before it alone.
    """
    n, tokens, width = packed.shape
    query, key, value = packed.view(n, tokens, 3, heads, width // 3 // heads).permute(2, 0, 3, 1, 4).unbind(0)
    seen = scaled_dot_product_attention(query, key, value, is_causal=causal)
    return seen.transpose(1, 2).reshape(n, tokens, width // 3)
