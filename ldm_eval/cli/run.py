"""``ldm-eval run``: sample, measure, judge, write the card."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from ldm_eval.cli import console
from ldm_eval.cli.settings import given_only, settings_options
from ldm_eval.run.config import ResolvedConfig, RunConfig, resolve_config

__all__ = ["EPILOG", "run"]

EPILOG = (
    "Every option can also be set as LDM_EVAL_NAME (e.g. LDM_EVAL_BATCH_SIZE) and as a key of the --config file. "
    "The option wins over the environment, the environment over the file."
)

ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        envvar="LDM_EVAL_CONFIG",
        help="TOML file with settings; keys are the option names.",
        rich_help_panel="Results",
    ),
]
ShowConfig = Annotated[
    bool, typer.Option("--show-config", help="Print every setting with its source and stop.", rich_help_panel="Results")
]


@settings_options(RunConfig, leave_out=("checks",), panels=True)
def run(context: typer.Context, config: ConfigFile = None, show_config: ShowConfig = False, **given: Any) -> None:
    """Sample from a model, measure it, judge it by a policy, write results.json and MODEL_CARD.md."""
    options = given_only(given)
    if context.find_root().params.get("debug"):
        options["debug"] = True
    resolved = resolve_config(options, os.environ, config)
    if show_config:
        _show_settings(resolved)
    elif resolved.config.dry_run:
        _show_plan(resolved.config)
    else:
        _evaluate(resolved.config)


def _show_settings(resolved: ResolvedConfig) -> None:
    from ldm_eval.cli.tables import settings_document, settings_table

    if resolved.config.json:
        console.document(settings_document(resolved))
    else:
        console.show(settings_table(resolved))


def _show_plan(config: RunConfig) -> None:
    from ldm_eval.cli.plan import plan_document, plan_tables
    from ldm_eval.cli.progress import progress
    from ldm_eval.evaluate import plan_config
    from ldm_eval.run.tuning import tune_process

    tune_process()
    with console.only_results_on_stdout(), progress() as news:
        plan = plan_config(config, news)
    if config.json:
        console.document(plan_document(plan))
    else:
        console.show(plan_tables(plan))


def _evaluate(config: RunConfig) -> None:
    from ldm_eval.cli.progress import progress
    from ldm_eval.cli.tables import results_document
    from ldm_eval.cli.verdict import evaluation_report
    from ldm_eval.evaluate import evaluate_config
    from ldm_eval.run.tuning import tune_process

    tune_process()
    with console.only_results_on_stdout(), progress() as news:
        done = evaluate_config(config, news)
    console.show(evaluation_report(done), on_stderr=config.json)
    if config.json:
        console.document(results_document(done.results))
    raise typer.Exit(done.exit_code)
