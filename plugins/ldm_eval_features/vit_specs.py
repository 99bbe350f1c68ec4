"""Light descriptions of the vision transformers: nothing here imports torch."""

from __future__ import annotations

import functools

from ldm_eval.api import ExtractorContext, ExtractorSpec, FeatureExtractor

_DINOV2 = (
    ("dinov2-vits14", "S", 384, "0.09 GB"),
    ("dinov2-vitb14", "B", 768, "0.35 GB"),
    ("dinov2-vitl14", "L", 1024, "1.2 GB"),
)
_CLIP = (
    ("clip-vit-b32", "B/32", 512, "0.35 GB"),
    ("clip-vit-l14", "L/14", 768, "0.9 GB"),
    ("clip-vit-l14-336", "L/14@336", 768, "0.9 GB"),
)


def _dinov2(name: str, context: ExtractorContext) -> FeatureExtractor:
    from ldm_eval_features.vit_recipes import load_dinov2

    return load_dinov2(name, context)


def _clip(name: str, context: ExtractorContext) -> FeatureExtractor:
    from ldm_eval_features.vit_recipes import load_clip

    return load_clip(name, context)


def vision_transformer_specs() -> list[ExtractorSpec]:
    """DINOv2 of three sizes, CLIP of three; all need weights that are fetched once or given as a file."""
    return [
        *(
            ExtractorSpec(
                name=name,
                summary=f"DINOv2 ViT-{size}/14, {dimension} features; fetched once ({weight}), or "
                "--extractor-weights FILE",
                licence="Apache-2.0",
                load=functools.partial(_dinov2, name),
            )
            for name, size, dimension, weight in _DINOV2
        ),
        *(
            ExtractorSpec(
                name=name,
                summary=f"CLIP ViT-{size}, {dimension} features, reads text too; fetched once ({weight}), or "
                "--extractor-weights FILE",
                licence="MIT",
                load=functools.partial(_clip, name),
                text=True,
            )
            for name, size, dimension, weight in _CLIP
        ),
    ]
