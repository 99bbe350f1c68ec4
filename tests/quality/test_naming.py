"""A distance has a published name in one feature space only."""

import pytest
from ldm_eval_quality.naming import (
    frechet_name,
    has_published_scores,
    kernel_name,
    mean_discrepancy_name,
    reconstruction_name,
)

from ldm_eval.api import ExtractorInfo

NAMES = {
    "inception-2015": ("fid", "kid", "mmd", "rfid"),
    "inception-2015-clean": ("clean_fid", "clean_kid", "mmd", "clean_rfid"),
    "inception-2015-spatial": ("sfid", "kernel_distance", "mmd", "rfd"),
    "clip-vit-l14-336": ("frechet_distance", "kernel_distance", "cmmd", "rfd"),
}
OTHERS = (
    "inception-2015-unverified",
    "clip-vit-l14-336-unverified",
    "clip-vit-l14",
    "clip-vit-b32",
    "dinov2-vitl14",
    "efficientnet-lite0",
    "phantom",
)


def info(name: str) -> ExtractorInfo:
    return ExtractorInfo(name, "0" * 64, 16, None, "none", "Apache-2.0")


@pytest.mark.parametrize("extractor", [*NAMES, *OTHERS])
def test_published_names_belong_to_one_space(extractor: str) -> None:
    expected = NAMES.get(extractor, ("frechet_distance", "kernel_distance", "mmd", "rfd"))
    given = info(extractor)
    assert (
        frechet_name(given),
        kernel_name(given),
        mean_discrepancy_name(given),
        reconstruction_name(given),
    ) == expected


def test_only_the_published_weights_have_published_inception_scores() -> None:
    assert has_published_scores(info("inception-2015"))
    assert not any(has_published_scores(info(name)) for name in OTHERS)
