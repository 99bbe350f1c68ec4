"""EfficientNet-Lite0: the same numbers as the published module, and sense on a photograph."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
import torch
from efficientnet_lite_pytorch import EfficientNet
from ldm_eval_features import recipes, weights
from ldm_eval_features.efficientnet import EfficientNetLite0
from ldm_eval_features.extractor import NetworkExtractor
from PIL import Image

MILITARY_UNIFORM = 652


def test_folded_and_channels_last_agrees_with_the_published_module(lite0: NetworkExtractor) -> None:
    recipe = recipes.EFFICIENTNET_LITE0
    state = weights.read(recipes.shipped_lite0(), recipe.published)
    with torch.random.fork_rng():
        published = EfficientNet.from_name("efficientnet-lite0")
    published.load_state_dict(dict(state.tensors), strict=False)
    published.eval()
    images = np.random.default_rng(0).integers(0, 256, (6, 3, 40, 30), dtype=np.uint8)
    with torch.no_grad():
        seen = recipe.preprocessing(torch.from_numpy(images)).contiguous()
        expected = published.extract_features(seen).mean(dim=(2, 3))
        logits = published(seen) - published._fc.bias
    found = lite0.extract(images)
    assert found.logits is not None
    assert np.abs(found.values - expected.numpy()).max() <= 1e-5 * expected.abs().max()
    assert np.abs(found.logits - logits.numpy()).max() <= 1e-5 * logits.abs().max()


def test_names_are_those_of_the_published_module() -> None:
    with torch.random.fork_rng():
        published = EfficientNet.from_name("efficientnet-lite0")
    with torch.device("meta"):
        ours = EfficientNetLite0()
    expected = {name: value.shape for name, value in published.state_dict().items()}
    assert {name: value.shape for name, value in ours.state_dict().items()} == expected


def test_a_photograph_of_an_officer_is_a_military_uniform(lite0: NetworkExtractor) -> None:
    path = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    with Image.open(path) as picture:
        width, height = picture.size
        image = np.asarray(picture.convert("RGB").crop((0, 0, width, width))).transpose(2, 0, 1)
    assert height >= width
    logits = lite0.extract(image[None]).logits
    assert logits is not None
    bias = weights.read(recipes.shipped_lite0(), recipes.EFFICIENTNET_LITE0.published).tensors["_fc.bias"].numpy()
    assert int(np.argmax(logits[0] + bias)) == MILITARY_UNIFORM
