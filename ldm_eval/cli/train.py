"""``ldm-eval train``: train a model with one of the installed trainers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ldm_eval.cli import console
from ldm_eval.cli.settings import given_only, settings_options
from ldm_eval.run.training import TrainSettings, parse_options, resolve_settings, train_model

if TYPE_CHECKING:
    from ldm_eval.api import TrainProgress

__all__ = ["train"]

TrainerOptions = Annotated[
    list[str] | None,
    typer.Option("-o", "--option", metavar="NAME=VALUE", help="Setting of the trainer itself; may be repeated."),
]
ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="TOML file with settings; keys are the option names, the trainer's own stand in a table 'options'. "
        "Options win.",
    ),
]


@settings_options(TrainSettings, leave_out=("options",))
def train(option: TrainerOptions = None, config: ConfigFile = None, **given: Any) -> None:
    """Train a model on a dataset and write a checkpoint that remembers its data; prints the path."""
    from ldm_eval.cli.discovery import discover
    from ldm_eval.cli.progress import progress
    from ldm_eval.run.tuning import tune_process

    settings = resolve_settings(given_only(given), parse_options(option or ()), config)
    tune_process()
    with console.only_results_on_stdout(), progress() as news:
        done = train_model(settings, discover({}), news, lambda step: news.detail(_losses(step)))
    console.note(f"Trained {done.identity.architecture}: {_final(done.loss, done.holdout_loss)}.")
    console.line(str(done.checkpoint))


def _losses(news: TrainProgress) -> str:
    return _final(news.loss, news.holdout_loss)


def _final(loss: float, holdout_loss: float | None) -> str:
    return f"loss {loss:.4f}" + (f", held-out {holdout_loss:.4f}" if holdout_loss is not None else "")
