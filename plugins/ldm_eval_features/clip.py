"""CLIP's image and text encoders with vision transformers (arXiv:2103.00020).

State-dict names are those of OpenAI's published archives (``ViT-B-32.pt`` and so on); ``published_names`` takes the
names of the same networks in Hugging Face's repositories as well.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from ldm_eval_features.attention import attend
from ldm_eval_features.weight_names import packed, renamed

CONTEXT = 77
VOCABULARY = 49408


@dataclass(frozen=True, slots=True)
class Architecture:
    """Sizes of both encoders; heads are 64 wide everywhere.

    Attributes:
        size: Pixels along a side of the image.
        patch: Pixels along a side of a patch.
        width: Of the image encoder.
        depth: Blocks of the image encoder.
        text_width: Of the text encoder, whose depth is ``text_depth``.
        dimension: Of the space that both share.
        head: Width of one head.
    """

    size: int
    patch: int
    width: int
    depth: int
    text_width: int
    dimension: int
    text_depth: int = 12
    head: int = 64
    context: int = CONTEXT
    vocabulary: int = VOCABULARY


VIT_B32 = Architecture(size=224, patch=32, width=768, depth=12, text_width=512, dimension=512)
VIT_L14 = Architecture(size=224, patch=14, width=1024, depth=24, text_width=768, dimension=768)
VIT_L14_336 = Architecture(size=336, patch=14, width=1024, depth=24, text_width=768, dimension=768)


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.empty(3 * width))
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: torch.Tensor, *, causal: bool) -> torch.Tensor:
        """``(N, T, width)`` -> the same shape."""
        projected = nn.functional.linear(x, self.in_proj_weight, self.in_proj_bias)
        out: torch.Tensor = self.out_proj(attend(projected, self.heads, causal=causal))
        return out


class _Mlp(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.c_fc = nn.Linear(width, 4 * width)
        self.c_proj = nn.Linear(4 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(N, T, width)`` -> the same shape; GELU is approximated by ``x sigmoid(1.702 x)``, as CLIP was trained."""
        hidden = self.c_fc(x)
        out: torch.Tensor = self.c_proj(hidden.mul_(torch.sigmoid(1.702 * hidden)))
        return out


class _Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attn = _Attention(width, heads)
        self.ln_1 = nn.LayerNorm(width)
        self.mlp = _Mlp(width)
        self.ln_2 = nn.LayerNorm(width)

    def forward(self, x: torch.Tensor, *, causal: bool) -> torch.Tensor:
        """``(N, T, width)`` -> the same shape."""
        x = x + self.attn(self.ln_1(x), causal=causal)
        out: torch.Tensor = x + self.mlp(self.ln_2(x))
        return out


class _Transformer(nn.Module):
    def __init__(self, width: int, depth: int, heads: int) -> None:
        super().__init__()
        self.resblocks = nn.ModuleList(_Block(width, heads) for _ in range(depth))

    def forward(self, x: torch.Tensor, *, causal: bool) -> torch.Tensor:
        """``(N, T, width)`` -> the same shape."""
        for block in self.resblocks:
            x = block(x, causal=causal)
        return x


class _Vision(nn.Module):
    def __init__(self, of: Architecture) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, of.width, of.patch, stride=of.patch, bias=False)
        self.class_embedding = nn.Parameter(torch.empty(of.width))
        self.positional_embedding = nn.Parameter(torch.empty(1 + (of.size // of.patch) ** 2, of.width))
        self.ln_pre = nn.LayerNorm(of.width)
        self.transformer = _Transformer(of.width, of.depth, of.width // of.head)
        self.ln_post = nn.LayerNorm(of.width)
        self.proj = nn.Parameter(torch.empty(of.width, of.dimension))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(N, 3, size, size)`` -> ``(N, dimension)``."""
        patches = self.conv1(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.class_embedding.expand(len(x), 1, -1), patches], dim=1) + self.positional_embedding
        seen = self.transformer(self.ln_pre(tokens), causal=False)
        out: torch.Tensor = self.ln_post(seen[:, 0]) @ self.proj
        return out


class Clip(nn.Module):
    """``(N, 3, size, size)`` normalised images -> ``(N, dimension)``: projected, not divided by their length."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self._architecture = of = architecture
        self.visual = _Vision(of)
        self.token_embedding = nn.Embedding(of.vocabulary, of.text_width)
        self.positional_embedding = nn.Parameter(torch.empty(of.context, of.text_width))
        self.transformer = _Transformer(of.text_width, of.text_depth, of.text_width // of.head)
        self.ln_final = nn.LayerNorm(of.text_width)
        self.text_projection = nn.Parameter(torch.empty(of.text_width, of.dimension))
        self.logit_scale = nn.Parameter(torch.empty(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Features of normalised images."""
        out: torch.Tensor = self.visual(x)
        return out

    def encode_text(self, tokens: torch.Tensor) -> torch.Tensor:
        """``(N, T) int64`` tokens, each row ended by the highest one -> ``(N, dimension)``, projected."""
        x = self.token_embedding(tokens) + self.positional_embedding[: tokens.shape[1]]
        x = self.ln_final(self.transformer(x, causal=True))
        out: torch.Tensor = x[torch.arange(len(x), device=x.device), tokens.argmax(dim=1)] @ self.text_projection
        return out

    @property
    def dimension(self) -> int:
        """Features of an image or a text."""
        return self._architecture.dimension

    @property
    def classifier(self) -> None:
        """It does not classify."""
        return None

    def fold(self) -> None:
        """Nothing to fold."""


_RENAMED = (
    (r"^vision_model\.embeddings\.class_embedding$", "visual.class_embedding"),
    (r"^vision_model\.embeddings\.patch_embedding\.", "visual.conv1."),
    (r"^vision_model\.embeddings\.position_embedding\.weight$", "visual.positional_embedding"),
    (r"^vision_model\.pre_layrnorm\.", "visual.ln_pre."),
    (r"^vision_model\.post_layernorm\.", "visual.ln_post."),
    (r"^vision_model\.encoder\.layers\.", "visual.transformer.resblocks."),
    (r"^text_model\.embeddings\.token_embedding\.", "token_embedding."),
    (r"^text_model\.embeddings\.position_embedding\.weight$", "positional_embedding"),
    (r"^text_model\.final_layer_norm\.", "ln_final."),
    (r"^text_model\.encoder\.layers\.", "transformer.resblocks."),
    (r"\.layer_norm([12])\.", r".ln_\1."),
    (r"\.mlp\.fc1\.", ".mlp.c_fc."),
    (r"\.mlp\.fc2\.", ".mlp.c_proj."),
    (r"\.self_attn\.", ".attn."),
)
_PARTS = (("q_proj",), ("k_proj",), ("v_proj",))
_NOT_WEIGHTS = re.compile(r"^(input_resolution|context_length|vocab_size)$|embeddings\.position_ids$")


def published_names(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The weights under the names of OpenAI's archives, from there or from Hugging Face's files; unknown names stay.

    Sizes that lie among the weights (``input_resolution`` and such, ``position_ids``) are left out.
    """
    known = renamed({name: tensor for name, tensor in tensors.items() if not _NOT_WEIGHTS.search(name)}, _RENAMED)
    for theirs, ours in (("visual_projection.weight", "visual.proj"), ("text_projection.weight", "text_projection")):
        if theirs in known:
            known[ours] = known.pop(theirs).T.contiguous()
    return packed(known, ".attn.", _PARTS, "in_proj_")
