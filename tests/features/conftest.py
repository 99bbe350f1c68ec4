"""Extractors that are built once for all tests."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from ldm_eval_features import recipes
from ldm_eval_features.extractor import NetworkExtractor, build
from ldm_eval_features.inception import Inception2015
from ldm_eval_features.weights import StateDict

from ldm_eval.api import ExtractorContext


@pytest.fixture(scope="session")
def lite0() -> NetworkExtractor:
    context = ExtractorContext(device="cpu", offline=True, cache_dir=Path("nowhere"))
    return recipes.load_efficientnet_lite0(context)


@pytest.fixture(scope="session")
def inception_weights() -> dict[str, torch.Tensor]:
    """Random weights under the public names, scaled so that activations neither die nor explode."""
    generator = torch.Generator().manual_seed(1)
    with torch.device("meta"):
        shapes = {name: value.shape for name, value in Inception2015().state_dict().items()}
    weights = {}
    for name, shape in shapes.items():
        if name.endswith("num_batches_tracked"):
            continue
        if name.endswith(("running_var", "bn.weight")):
            weights[name] = torch.rand(shape, generator=generator) + 0.5
        elif len(shape) == 4:
            weights[name] = torch.randn(shape, generator=generator) * (2 / shape[1:].numel()) ** 0.5
        else:
            weights[name] = torch.randn(shape, generator=generator) * (0.02 if len(shape) == 2 else 0.1)
    return weights


@pytest.fixture(scope="session")
def inception(inception_weights: dict[str, torch.Tensor]) -> NetworkExtractor:
    return build(recipes.INCEPTION_2015, StateDict(inception_weights, published=False), "cpu")
