"""``ldm-eval train``: train a model with one of the installed trainers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ldm_eval.cli import console
from ldm_eval.cli.settings import given_only, settings_options
from ldm_eval.run.training import TrainSettings, parse_options, train_model

if TYPE_CHECKING:
    from ldm_eval.api import TrainProgress

__all__ = ["train"]

TrainerOptions = Annotated[
    list[str] | None,
    typer.Option("-o", "--option", metavar="NAME=VALUE", help="Setting of the trainer itself; may be repeated."),
]


@settings_options(TrainSettings, leave_out=("options",))
def train(option: TrainerOptions = None, **given: Any) -> None:
    """Train a model on a dataset and write a checkpoint that remembers its data; prints the path."""
    from ldm_eval.cli.discovery import discover
    from ldm_eval.cli.progress import progress
    from ldm_eval.run.tuning import tune_process

    settings = TrainSettings(**given_only(given), options=parse_options(option or ()))
    tune_process()
    with console.only_results_on_stdout(), progress() as news:
        done = train_model(settings, discover({}), news, lambda step: news.detail(_losses(step)))
    console.note(f"Trained {done.identity.architecture}: {_final(done.loss, done.holdout_loss)}.")
    console.line(str(done.checkpoint))


def _losses(news: TrainProgress) -> str:
    return _final(news.loss, news.holdout_loss)


def _final(loss: float, holdout_loss: float | None) -> str:
    return f"loss {loss:.4f}" + (f", held-out {holdout_loss:.4f}" if holdout_loss is not None else "")
