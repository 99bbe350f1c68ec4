"""``ldm-eval reference``: features and statistics of real images in one file, to be shipped without the images."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ldm_eval.cli import console
from ldm_eval.cli.settings import given_only, settings_options
from ldm_eval.run.config import RunConfig, resolve_config

if TYPE_CHECKING:
    from ldm_eval.run.reference import WrittenReference

__all__ = ["reference"]

SETTINGS = (
    *("extractor", "extractor_weights", "device", "threads", "cache_dir", "offline"),
    *("plugin", "disable_plugin"),
)
Data = Annotated[
    str,
    typer.Argument(metavar="DATA", help="Folder, zip, npz, or NAME[:SPLIT] of a named dataset.", show_default=False),
]
Output = Annotated[Path, typer.Option("--output", metavar="FILE.npz", help="The file to write.", show_default=False)]
StatisticsOnly = Annotated[
    bool,
    typer.Option("--statistics-only", help="Mean and covariance alone: smaller, and nothing of single images."),
]
Limit = Annotated[int | None, typer.Option("--limit", metavar="N", help="Take only the first N images.", min=2)]
AsJson = Annotated[bool, typer.Option("--json", help="What was written as JSON on stdout.")]


@settings_options(RunConfig, SETTINGS)
def reference(
    data: Data,
    output: Output,
    statistics_only: StatisticsOnly = False,
    limit: Limit = None,
    as_json: AsJson = False,
    **given: Any,
) -> None:
    """Compute features and statistics of real images once and write them to one file.

    `ldm-eval run` takes it for --reference, --holdout or --data in the place of the images, or for its statistics
    alone; pytorch-fid and clean-fid read its mu and sigma.
    """
    from ldm_eval.cli.progress import progress
    from ldm_eval.hooks.catalogue import Catalogue
    from ldm_eval.run.reference import make_reference
    from ldm_eval.run.tuning import tune_process

    config = resolve_config(given_only(given | {"limit": limit}), os.environ).config
    tune_process()
    with console.only_results_on_stdout(), progress() as news:
        catalogue = Catalogue.discover(config.disable_plugin, config.plugin)
        target = output.expanduser()
        written = make_reference(data, target, config, catalogue, news, statistics_only=statistics_only)
    if as_json:
        console.document(asdict(written) | {"path": str(written.path)})
    else:
        _tell(written)


def _tell(written: WrittenReference) -> None:
    from ldm_eval.cli.plan import size

    shape = "x".join(str(length) for length in written.shape)
    console.line(f"Images: {written.count:,} of {shape} from {written.name}, digest {written.image_digest}")
    for info in written.extractors:
        classes = f", {info.classes} logits" if info.classes and not written.statistics_only else ""
        console.line(f"Extractor: {info.name}, {info.dimension} features{classes}, fingerprint {info.fingerprint}")
    console.line(f"Holds: {'statistics only' if written.statistics_only else 'features and statistics'}")
    console.line(f"Digest: {written.digest}")
    console.line(f"Reference: {written.path} ({size(written.bytes)})")
