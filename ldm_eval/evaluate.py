"""The stable Python API: run, gate and report in one call. The command line calls these functions and nothing else.

>>> import ldm_eval
>>> done = ldm_eval.evaluate("demo", suite="quality", output="out")     # doctest: +SKIP
>>> done.frame()[["check", "name", "value", "low", "high"]]    # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ldm_eval.errors import ConfigError, LdmEvalError, PluginError, did_you_mean

if TYPE_CHECKING:
    import pandas as pd

    from ldm_eval.api import RendererSpec
    from ldm_eval.gate import Policy, Verdict
    from ldm_eval.hooks.catalogue import Catalogue
    from ldm_eval.run.config import RunConfig
    from ldm_eval.run.plan import Plan
    from ldm_eval.run.progress import Progress
    from ldm_eval.store.certificate import Certificate
    from ldm_eval.store.results import Results

__all__ = ["Evaluation", "evaluate", "evaluate_config", "gate_folder", "plan_config", "render_folder"]

EXIT_INCOMPLETE = 4


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A finished run.

    Attributes:
        folder: Where everything lies.
        results: What was measured.
        verdict: What the policy decided, or None when there was no policy.
        card: The model card.
        rendered: What the renderers that were asked for wrote.
    """

    folder: Path
    results: Results
    verdict: Verdict | None
    card: Path
    rendered: tuple[Path, ...] = ()

    @property
    def exit_code(self) -> int:
        """0 done and passed, 1 gate failed, 3 inconclusive, 4 a check crashed; the worst of run and gate."""
        from ldm_eval.api import Crashed

        crashed = any(isinstance(record.outcome, Crashed) for record in self.results.checks)
        gate = self.verdict.exit_code if self.verdict else 0
        return worst_exit_code([gate, EXIT_INCOMPLETE if crashed else 0])

    def frame(self) -> pd.DataFrame:
        """All measurements, one row each; the columns are the keys of ``show --json``."""
        import pandas as pd

        from ldm_eval.store.results import measurement_to_json

        return pd.DataFrame([measurement_to_json(m) for m in self.results.measurements])


def worst_exit_code(codes: Sequence[int]) -> int:
    """The exit code that wins: 5 > 4 > 1 > 3 > 0."""
    return next(code for code in (5, 4, 1, 3, 0) if code in codes)


def evaluate(
    model: str, suite: str | Sequence[str] = "all", *, progress: Progress | None = None, **settings: Any
) -> Evaluation:
    """Evaluate a model: sample, measure, judge (with ``policy=``), write the card.

    Args:
        model: Checkpoint, folder of images, or a name such as ``"demo"``.
        suite: Suites or check ids.
        progress: Receives news; silent by default.
        **settings: Any field of ``run.config.RunConfig``: ``data``, ``holdout``, ``policy``, ``calibration``, ...;
            None is the same as leaving it out.

    Raises:
        LdmEvalError: one of its classes, see ``ldm_eval.errors``.
    """
    from ldm_eval.run.config import resolve_config

    wanted = [suite] if isinstance(suite, str) else list(suite)
    given = {name: value for name, value in settings.items() if value is not None}
    options = {"model": model, "suite": ",".join(wanted), **given}
    return evaluate_config(resolve_config(options, {}).config, progress)


def evaluate_config(config: RunConfig, progress: Progress | None = None) -> Evaluation:
    """Run a configuration to the end: results.json, the verdict when a policy is named, the card."""
    from ldm_eval.gate import load_policy, load_verdict
    from ldm_eval.report import load_calibration
    from ldm_eval.run.pipeline import run
    from ldm_eval.run.progress import SilentProgress

    catalogue = _discover(config)
    policy = load_policy(_policy_path(config.policy, catalogue)) if config.policy else None
    certificate = _read_calibration(config.calibration)
    declared = _read_declared(config.declared)
    renderers = _renderers(config.renderer, catalogue)
    news = progress or SilentProgress()
    _foretell(policy, certificate, catalogue, news)
    finished = run(config, catalogue, news, policy.digest if policy else None)
    results, folder = finished.results, finished.folder
    certificate = certificate or load_calibration(folder)
    verdict = _judge(results, policy, certificate) or load_verdict(folder)
    return _render(folder, results, verdict, catalogue, _Extras(declared, certificate, renderers))


def plan_config(config: RunConfig, progress: Progress | None = None) -> Plan:
    """What a configuration would do and cost, without doing it (``--dry-run``)."""
    from ldm_eval.run.estimate import with_cost
    from ldm_eval.run.prepare import prepare
    from ldm_eval.run.progress import SilentProgress

    return with_cost(prepare(config, _discover(config), progress or SilentProgress()))


def gate_folder(
    folder: Path, policy_file: Path, as_of: date | None = None, calibration: Path | None = None
) -> Evaluation:
    """Judge a finished run by a policy and write verdict and card again; nothing is sampled or measured.

    Args:
        folder: The folder of the run.
        policy_file: The policy.
        as_of: The day on which waivers must hold; today when None.
        calibration: Certificate to judge with and to keep with the run; None takes the one that is kept there.

    Raises:
        PolicyError: when the policy cannot be read.
        ConfigError: when the folder does not hold a finished run, or ``calibration`` is no certificate.
        StoreError: when what it holds cannot be read, or the folder not written.
    """
    from ldm_eval.gate import load_policy
    from ldm_eval.hooks.catalogue import Catalogue
    from ldm_eval.report import load_calibration
    from ldm_eval.store.results import load_results

    results = load_results(folder)
    folder = _folder_of(folder)
    catalogue = Catalogue.discover()
    policy = load_policy(_policy_path(str(policy_file), catalogue))
    certificate = _read_calibration(str(calibration or "")) or load_calibration(folder)
    verdict = _judge(results, policy, certificate, as_of)
    return _render(folder, results, verdict, catalogue, _Extras(certificate=certificate))


def render_folder(
    folder: Path, declared: Path | None = None, renderers: Sequence[str] = (), calibration: Path | None = None
) -> Evaluation:
    """Draw the card of a finished run again, with the verdict that is stored beside it.

    Args:
        folder: The folder of the run.
        declared: card.toml with what the author declares; None keeps what was declared before.
        renderers: Names of plugins' renderers to write the report with, too.
        calibration: Certificate to cite and to keep with the run; None takes the one that is kept there.

    Raises:
        ConfigError: when the folder does not hold a finished run, ``declared`` or ``calibration`` cannot be read, or
            there is no such renderer.
        StoreError: when what it holds cannot be read, or the folder not written.
        PluginError: when a renderer fails; the card is written all the same.
    """
    from ldm_eval.gate import load_verdict
    from ldm_eval.hooks.catalogue import Catalogue
    from ldm_eval.report import load_calibration
    from ldm_eval.store.results import load_results

    results = load_results(folder)
    folder = _folder_of(folder)
    read = _read_declared(str(declared)) if declared is not None else None
    certificate = _read_calibration(str(calibration or "")) or load_calibration(folder)
    catalogue = Catalogue.discover()
    extras = _Extras(read, certificate, _renderers(renderers, catalogue))
    return _render(folder, results, load_verdict(folder), catalogue, extras)


def _folder_of(named: Path) -> Path:
    """The run folder, also when the results.json in it was named."""
    return named.parent if named.is_file() else named


def _judge(
    results: Results, policy: Policy | None, certificate: Certificate | None, as_of: date | None = None
) -> Verdict | None:
    from ldm_eval.gate import decide

    return decide(results, policy, as_of or datetime.now(UTC).date(), certificate) if policy else None


def _foretell(policy: Policy | None, certificate: Certificate | None, catalogue: Catalogue, news: Progress) -> None:
    """Say before anything is sampled which rules will be errors for want of calibration."""
    from ldm_eval.gate import MadeBy, uncalibrated_rules
    from ldm_eval.version import installed_version

    if policy is None:
        return
    installed = tuple(
        {"name": plugin.name, "distribution": plugin.distribution, "version": plugin.version}
        for plugin in catalogue.plugins
    )
    lacking = uncalibrated_rules(policy, MadeBy(installed_version(), installed), certificate)
    if lacking:
        news.note(
            "The policy requires calibrated instruments, and as things stand these rules will end as errors: "
            f"{', '.join(lacking)}. `ldm-eval calibrate` makes a certificate; `ldm-eval gate DIR --calibration FILE` "
            "judges a finished run with it, too."
        )


@dataclass(frozen=True, slots=True)
class _Extras:
    """What goes into a report besides results and verdict.

    Attributes:
        declared: What the author declares; None keeps what was declared before.
        certificate: What a calibration found, or None.
        renderers: Further formats to write.
    """

    declared: Mapping[str, Any] | None = None
    certificate: Certificate | None = None
    renderers: Sequence[RendererSpec] = ()


def _render(
    folder: Path, results: Results, verdict: Verdict | None, catalogue: Catalogue, extras: _Extras
) -> Evaluation:
    """Write the report; what the author declared before is kept when nothing new is declared."""
    from ldm_eval.report import load_declared, write_report

    said = extras.declared if extras.declared is not None else load_declared(folder)
    sections = tuple(catalogue.card_sections.values())
    card = write_report(results, verdict, folder, said, sections, extras.certificate)
    return Evaluation(folder, results, verdict, card, _rendered(folder, results, verdict, extras.renderers))


def _renderers(names: Sequence[str], catalogue: Catalogue) -> tuple[RendererSpec, ...]:
    known = catalogue.renderers
    for name in names:
        if name not in known:
            installed = ", ".join(known) or "none is installed"
            hint = did_you_mean(name, known)
            raise ConfigError(f"--renderer {name}: there is no such renderer.{hint} Known: {installed}.")
    return tuple(known[name] for name in names)


def _rendered(
    folder: Path, results: Results, verdict: Verdict | None, renderers: Sequence[RendererSpec]
) -> tuple[Path, ...]:
    """Let each renderer write; the card is there already, so one that fails loses nothing."""
    from ldm_eval.gate import verdict_to_json

    document = results.to_json()
    judged = verdict_to_json(verdict) if verdict else None
    written = []
    for spec in renderers:
        try:
            written.append(spec.render(document, judged, folder))
        except LdmEvalError:
            raise
        except Exception as error:  # a plugin may raise anything
            raise PluginError(
                f"The renderer '{spec.name}' failed: {type(error).__name__}: {error}. Results and card are in {folder}."
            ) from error
    return tuple(written)


def _policy_path(text: str, catalogue: Catalogue) -> Path:
    """A policy by file, or by the name of a shipped model that has one."""
    shipped = catalogue.models.get(text)
    return shipped.policy() if shipped and shipped.policy else Path(text).expanduser()


def _read_calibration(path: str) -> Certificate | None:
    """The certificate that the user names; what is wrong with it is known before anything is sampled."""
    from ldm_eval.errors import StoreError
    from ldm_eval.store.certificate import load_certificate

    if not path:
        return None
    try:
        return load_certificate(Path(path).expanduser())
    except StoreError as error:  # a file that the user names is input, not a folder of ours
        raise ConfigError(f"--calibration {path}: {error}") from error


def _read_declared(path: str) -> Mapping[str, Any] | None:
    import tomllib

    if not path:
        return None
    try:
        with Path(path).expanduser().open("rb") as stream:
            return tomllib.load(stream)
    except OSError as error:
        raise ConfigError(f"Cannot read what the author declares from {path}: {error.strerror or error}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}, which the author declares, is not valid TOML: {error}.") from error


def _discover(config: RunConfig) -> Catalogue:
    from ldm_eval.hooks.catalogue import Catalogue

    return Catalogue.discover(config.disable_plugin, config.plugin)
