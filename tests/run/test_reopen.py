"""A finished run whose checks crashed: the same command asks these again, and samples nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ldm_eval.api import Crashed, Images, Measured
from ldm_eval.errors import ConfigError, StoreError
from ldm_eval.hooks.catalogue import Catalogue
from ldm_eval.run.config import RunConfig
from ldm_eval.run.pipeline import FinishedRun, run
from ldm_eval.run.progress import Progress

Run = Callable[..., FinishedRun]


class _Watching(Progress):
    """Remembers the stages and notes; interrupts in ``stop_in``."""

    def __init__(self, stop_in: str = "") -> None:
        self.stages: list[str] = []
        self.notes: list[str] = []
        self._stop_in = stop_in

    def start(self, stage: str, total: int | None) -> None:
        self.stages.append(stage)
        if stage == self._stop_in:
            raise KeyboardInterrupt

    def advance(self, units: int = 1) -> None: ...
    def finish(self) -> None: ...
    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture
def crashed(
    configure: Callable[..., RunConfig],
    run_once: Run,
    real_images: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> RunConfig:
    """A finished run with one check that crashed, one that crashes always, and one that was measured with a score."""
    given = {
        "suite": "hostile/good_score,hostile/raises,latent/error,latent/unlucky",
        "plugin": "hostile_plugin,latent_plugin",
        "data": str(real_images),
        "holdout": str(real_images),
        "model": "latent:halves",
        "steps": 0,
    }
    monkeypatch.setenv("LATENT_TODAY", "crash")
    done = run_once(**given)
    monkeypatch.delenv("LATENT_TODAY")
    outcomes = {record.check: record.outcome for record in done.results.checks}
    assert isinstance(outcomes["latent/unlucky"], Crashed)
    return configure(**given)


def again(config: RunConfig, watching: Progress) -> FinishedRun:
    return run(config, Catalogue.discover((), config.plugin), watching, "another policy")


def test_only_what_crashed_is_asked_again_and_the_rest_is_as_it_was(
    crashed: RunConfig, run_once: Run, tmp_path: Path, real_images: Path
) -> None:
    folder = Path(crashed.output)
    shards = {path: path.stat().st_mtime_ns for path in (folder / "samples").glob("*.npz")}
    with pytest.raises(KeyboardInterrupt):  # killed on the way, it is still the run that it was
        again(crashed, _Watching(stop_in="checks"))
    assert (folder / "results.json").is_file()
    watching = _Watching()
    done = again(crashed, watching)
    assert any("asking again: hostile/raises, latent/unlucky" in note for note in watching.notes)
    assert not [stage for stage in watching.stages if stage.startswith(("sampling", "score"))]
    assert shards == {path: path.stat().st_mtime_ns for path in (folder / "samples").glob("*.npz")}
    outcomes = {record.check: record.outcome for record in done.results.checks}
    assert isinstance(outcomes["latent/unlucky"], Measured)
    assert isinstance(outcomes["hostile/raises"], Crashed)
    assert isinstance(outcomes["hostile/good_score"], Measured)
    assert not (folder / "work").exists()
    straight = run_once(
        suite=",".join(crashed.suite),
        plugin=",".join(crashed.plugin),
        data=str(real_images),
        holdout=str(real_images),
        model="latent:halves",
        steps=0,
        output=str(tmp_path / "straight"),
    )
    assert (folder / "results.json").read_bytes() == (straight.folder / "results.json").read_bytes()
    # now no crashed check reads reconstructions; the results still name them
    assert [record.role for record in again(crashed, _Watching()).results.data].count("reconstruction") == 1


def test_samples_that_came_out_otherwise_are_not_mixed_with_old_numbers(
    crashed: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    from latent_plugin import LatentModel

    folder = Path(crashed.output)
    before = (folder / "results.json").read_bytes()
    for shard in (folder / "samples").glob("*.npz"):
        shard.unlink()
    made = LatentModel.generate
    monkeypatch.setattr(LatentModel, "generate", lambda self, requests: Images(made(self, requests).pixels + 0.5))
    watching = _Watching()
    with pytest.raises(StoreError, match=r"\(samples\) were made again and are not those that its results are about"):
        again(crashed, watching)
    assert "checks" not in watching.stages  # nor is an outcome left that a later attempt would take over
    assert (folder / "results.json").read_bytes() == before


def test_reconstructions_that_came_out_otherwise_are_not_mixed_with_old_numbers(
    crashed: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows of the old distance and the digest of the new images would stand in one document."""
    from latent_plugin import Autoencoder

    before = (Path(crashed.output) / "results.json").read_bytes()
    decode = Autoencoder.decode
    with monkeypatch.context() as otherwise:
        otherwise.setattr(Autoencoder, "decode", lambda self, latents: decode(self, latents) + 0.1)
        with pytest.raises(StoreError, match=r"\(reconstruction\) were made again"):
            again(crashed, _Watching())
    (Path(crashed.output) / "work" / "reconstruction.npy").unlink()
    with monkeypatch.context() as otherwise:
        otherwise.setattr(Autoencoder, "decode", lambda self, latents: latents)
        with pytest.raises(StoreError, match=r"\(reconstruction\) were made again"):
            again(crashed, _Watching())
    assert (Path(crashed.output) / "results.json").read_bytes() == before


def test_an_interrupted_run_takes_over_no_outcome_of_other_samples(
    configure: Callable[..., RunConfig], real_images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Measured, then killed; the samples are lost and another processor makes others."""
    from latent_plugin import LatentModel

    config = configure(
        suite="latent/levels,latent/error",
        plugin="latent_plugin",
        data=str(real_images),
        holdout=str(real_images),
        model="latent:halves",
        steps=0,
    )
    with pytest.raises(KeyboardInterrupt):
        again(config, _Watching(stop_in="checks"))
    for shard in (Path(config.output) / "samples").glob("*.npz"):
        shard.unlink()
    made = LatentModel.generate
    monkeypatch.setattr(LatentModel, "generate", lambda self, requests: Images(made(self, requests).pixels + 0.5))
    with pytest.raises(StoreError, match="--no-resume"):
        again(config, _Watching())


def test_the_policy_stays_the_one_recorded_before_sampling(crashed: RunConfig) -> None:
    assert again(crashed, _Watching()).results.policy_digest is None


WRITTEN = """
from ldm_eval.api import Alarm, CheckSpec, Interval, Needs, PhantomCase, Phantoms
from ldm_eval.hooks import hookimpl

CASE = PhantomCase("tests.nowhere:nothing", "none")

class Good:
    id, title, question, needs = "written/good", "Good", "?", Needs(samples=2)
    phantoms = Phantoms("level", Alarm("low", ">", 1.0), CASE, CASE)

    def run(self, evidence):
        return [evidence.measurement("level", 1.0, Interval(0.0, 2.0, 0.95, "none"), n=2, unit="", direction="none")]

class Bad(Good):
    id = "written/bad"

    def run(self, evidence):
        raise ValueError("to be mended")

@hookimpl
def ldm_eval_checks():
    return [CheckSpec.of(Good), CheckSpec.of(Bad)]
"""


def test_a_plugin_that_was_edited_is_another_run(
    run_once: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has no version, and outcomes of its two states would stand in one document."""
    module = tmp_path / "written_today.py"
    module.write_text(WRITTEN)
    monkeypatch.syspath_prepend(str(tmp_path))
    given = {"plugin": "written_today", "suite": "written/*", "samples": 3}
    assert isinstance(run_once(**given).results.checks[0].outcome, Crashed)
    module.write_text(WRITTEN.replace("1.0, Interval", "1.5, Interval"))
    with pytest.raises(ConfigError, match=r"plugins\.written_today: was '[0-9a-f]{16}', is now '[0-9a-f]{16}'"):
        run_once(**given)


def test_the_plugin_that_loads_the_model_is_part_of_what_a_run_is(run_once: Run) -> None:
    done = run_once(model="latent:pixels", steps=0, plugin="hostile_plugin,latent_plugin", suite="hostile/good")
    assert "latent_plugin" in json.loads((done.folder / "run.json").read_text())["plugins"]
