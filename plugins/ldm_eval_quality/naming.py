"""What a distance is called in which feature space: a number with the wrong name is worse than none.

A published name stands for one network with one preprocessing. In any other space the measure is called by what it is,
and the extractor stands in the signature. Weights that are not the published ones make an extractor called
``NAME-unverified``, which has no published name either.
"""

from __future__ import annotations

from collections.abc import Mapping

from ldm_eval.api import ExtractorInfo

__all__ = [
    "frechet_name",
    "has_published_scores",
    "kernel_name",
    "mean_discrepancy_name",
    "reconstruction_name",
    "sliced_name",
]

_INCEPTION, _CLEAN, _SPATIAL, _CLIP = (
    "inception-2015",
    "inception-2015-clean",
    "inception-2015-spatial",
    "clip-vit-l14-336",
)
_FRECHET: Mapping[str, str] = {_INCEPTION: "fid", _CLEAN: "clean_fid", _SPATIAL: "sfid"}
_KERNEL: Mapping[str, str] = {_INCEPTION: "kid", _CLEAN: "clean_kid"}
_GAUSSIAN: Mapping[str, str] = {_CLIP: "cmmd"}
_SLICED: Mapping[str, str] = {_INCEPTION: "mind"}
_RECONSTRUCTION: Mapping[str, str] = {_INCEPTION: "rfid", _CLEAN: "clean_rfid"}


def frechet_name(info: ExtractorInfo) -> str:
    """``fid``, ``clean_fid``, ``sfid``, or ``frechet_distance`` in any other space."""
    return _FRECHET.get(info.name, "frechet_distance")


def kernel_name(info: ExtractorInfo) -> str:
    """``kid``, ``clean_kid``, or ``kernel_distance`` in any other space."""
    return _KERNEL.get(info.name, "kernel_distance")


def mean_discrepancy_name(info: ExtractorInfo) -> str:
    """``cmmd`` with CLIP ViT-L/14 at 336 pixels, or ``mmd`` in any other space."""
    return _GAUSSIAN.get(info.name, "mmd")


def sliced_name(info: ExtractorInfo) -> str:
    """``mind``, or ``sliced_distance`` in any other space."""
    return _SLICED.get(info.name, "sliced_distance")


def reconstruction_name(info: ExtractorInfo) -> str:
    """``rfid``, ``clean_rfid``, or ``rfd`` in any other space."""
    return _RECONSTRUCTION.get(info.name, "rfd")


def has_published_scores(info: ExtractorInfo) -> bool:
    """True for the 2015 Inception weights with their own preprocessing: whose class logits published scores use."""
    return info.name == _INCEPTION
