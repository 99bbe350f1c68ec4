"""``ldm-eval sample``: write images of a model to a folder."""

from __future__ import annotations

import os
from enum import StrEnum
from typing import Annotated, Any

import typer

from ldm_eval.cli import console
from ldm_eval.cli.settings import given_only, settings_options
from ldm_eval.run.config import RunConfig, resolve_config

__all__ = ["ImageFormat", "sample"]


class ImageFormat(StrEnum):
    """How images are written."""

    png = "png"
    npz = "npz"


SETTINGS = (
    *("model", "output", "samples", "sampler", "steps", "guidance", "classes", "data", "seed", "device", "batch_size"),
    *("backend", "resume"),
)
Format = Annotated[ImageFormat, typer.Option("--format", help="One PNG per image, or one npz (arr_0, N x H x W x C).")]


@settings_options(RunConfig, SETTINGS)
def sample(image_format: Format = ImageFormat.png, **given: Any) -> None:
    """Sample images from a model and write them; prints the path.

    Image i is the same whatever the batch size or the number of images: it depends on (seed, i) and the model alone.
    """
    from ldm_eval.cli.progress import progress
    from ldm_eval.hooks.catalogue import Catalogue
    from ldm_eval.run.sampling import sample_to_folder
    from ldm_eval.run.tuning import tune_process

    config = resolve_config(given_only(given), os.environ).config
    tune_process()
    with console.only_results_on_stdout(), progress() as news:
        catalogue = Catalogue.discover(config.disable_plugin, config.plugin)
        path = sample_to_folder(config, catalogue, news, image_format=image_format.value)
    console.line(str(path))
