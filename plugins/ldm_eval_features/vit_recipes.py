"""The vision transformers of this plugin: which network, which preprocessing, which weights."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

import torch

from ldm_eval.api import ExtractorContext
from ldm_eval.errors import PluginError
from ldm_eval_features import clip, dinov2, weights
from ldm_eval_features.clip_extractor import ClipExtractor
from ldm_eval_features.extractor import NetworkExtractor, Recipe, build
from ldm_eval_features.pillow import Fit, PillowPreparation
from ldm_eval_features.weights import PublishedWeights, StateDict

_Names = Callable[[Mapping[str, torch.Tensor]], dict[str, torch.Tensor]]

_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
_TEXT = "CLIP byte pairs, 49408 tokens, lower case, at most 77 with start and end"


def _dinov2(size: str, architecture: dinov2.Architecture, sha256: str, micro_batch: int) -> Recipe:
    return Recipe(
        name=f"dinov2-vit{size}14",
        network=functools.partial(dinov2.DinoV2, architecture),
        # stretched, as dgm-eval does by default (arXiv:2306.04675): TF.Resize((224, 224), BICUBIC) of a Pillow image
        preprocessing=PillowPreparation(dinov2.SIZE, "stretch", *_IMAGENET),
        published=PublishedWeights(
            name=f"dinov2_vit{size}14_pretrain.pth",
            url=f"https://dl.fbaipublicfiles.com/dinov2/dinov2_vit{size}14/dinov2_vit{size}14_pretrain.pth",
            sha256=sha256,
        ),
        licence="Apache-2.0",
        micro_batch=micro_batch,
    )


def _clip(
    name: str, architecture: clip.Architecture, file: str, sha256: str, hugging_face: str, fit: Fit, micro_batch: int
) -> Recipe:
    return Recipe(
        name=name,
        network=functools.partial(clip.Clip, architecture),
        preprocessing=PillowPreparation(architecture.size, fit, *_CLIP, text=_TEXT),
        published=PublishedWeights(
            name=file,
            url=f"https://openaipublic.azureedge.net/clip/models/{sha256}/{file}",
            sha256=sha256,
            also=(hugging_face,),
        ),
        licence="MIT",
        micro_batch=micro_batch,
    )


DINOV2_VITS14 = _dinov2(
    "s", dinov2.VIT_S14, "b938bf1bc15cd2ec0feacfe3a1bb553fe8ea9ca46a7e1d8d00217f29aef60cd9", micro_batch=8
)
DINOV2_VITB14 = _dinov2(
    "b", dinov2.VIT_B14, "0b8b82f85de91b424aded121c7e1dcc2b7bc6d0adeea651bf73a13307fad8c73", micro_batch=8
)
DINOV2_VITL14 = _dinov2(
    "l", dinov2.VIT_L14, "d5383ea8f4877b2472eb973e0fd72d557c7da5d3611bd527ceeb1d7162cbf428", micro_batch=4
)
CLIP_VIT_B32 = _clip(
    "clip-vit-b32",
    clip.VIT_B32,
    "ViT-B-32.pt",
    "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af",
    "a63082132ba4f97a80bea76823f544493bffa8082296d62d71581a4feff1576f",
    "shorter-side",
    micro_batch=16,
)
CLIP_VIT_L14 = _clip(
    "clip-vit-l14",
    clip.VIT_L14,
    "ViT-L-14.pt",
    "b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836",
    "a2bf730a0c7debf160f7a6b50b3aaf3703e7e88ac73de7a314903141db026dcb",
    "shorter-side",
    micro_batch=4,
)
# the network of CMMD (arXiv:2401.09603), whose code cuts out the middle square before it resizes
CLIP_VIT_L14_336 = _clip(
    "clip-vit-l14-336",
    clip.VIT_L14_336,
    "ViT-L-14-336px.pt",
    "3035c92b350959924f9f00213499208652fc7ea050643e8b385c2dac08641f02",
    "c6032c2e0caae3dc2d4fba35535fa6307dbb49df59c7e182b1bc4b3329b81801",
    "square",
    micro_batch=4,
)

_DINOV2 = {recipe.name: recipe for recipe in (DINOV2_VITS14, DINOV2_VITB14, DINOV2_VITL14)}
_CLIPS = {recipe.name: recipe for recipe in (CLIP_VIT_B32, CLIP_VIT_L14, CLIP_VIT_L14_336)}


def load_dinov2(name: str, context: ExtractorContext) -> NetworkExtractor:
    """``dinov2-vits14``, ``-vitb14`` or ``-vitl14``, with Meta's weights or Hugging Face's copy of them.

    Raises:
        ConfigError: no weights and no network, or a file that is not this network's.
    """
    recipe = _DINOV2[name]
    return build(recipe, _read(recipe, context, dinov2.published_names), context.device)


def load_clip(name: str, context: ExtractorContext) -> ClipExtractor:
    """``clip-vit-b32``, ``clip-vit-l14`` or ``clip-vit-l14-336``, with OpenAI's weights or Hugging Face's copy.

    Raises:
        ConfigError: no weights and no network, or a file that is not this network's.
    """
    recipe = _CLIPS[name]
    return build_clip(recipe, _read(recipe, context, clip.published_names), context.device)


def build_clip(recipe: Recipe, state: StateDict, device: str) -> ClipExtractor:
    """Make the extractor from weights in memory, under OpenAI's names.

    Raises:
        ConfigError: the weights are not this network's.
    """
    images = build(recipe, state, device)
    if not isinstance(images.network, clip.Clip):
        raise PluginError(f"'{recipe.name}' is not made of a CLIP network")
    return ClipExtractor(images, images.network)


def _read(recipe: Recipe, context: ExtractorContext, names: _Names) -> StateDict:
    state = weights.read(weights.find(recipe.published, context), recipe.published)
    return StateDict(names(state.tensors), state.published)
