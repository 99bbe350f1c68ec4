from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ldm_eval.api import Measured, ScoreSpec
from ldm_eval.errors import DataError, LdmEvalError
from ldm_eval.hooks.catalogue import Catalogue
from ldm_eval.run.config import RunConfig
from ldm_eval.run.pipeline import FinishedRun
from ldm_eval.run.prepare import Prepared, prepare
from ldm_eval.run.progress import SilentProgress
from ldm_eval.run.saved_scores import find_saved_scores
from ldm_eval.store.results import Results, outcome_to_json
from ldm_eval.store.scores import load_scores, save_scores

Run = Callable[..., FinishedRun]
SCORE = "hostile/good_score"


@pytest.fixture
def original(run_once: Run, real_images: Path, tmp_path: Path) -> FinishedRun:
    """A run with the inside of the model, which keeps its scores."""
    return run_once(suite=SCORE, data=str(real_images), output=str(tmp_path / "original"))


@pytest.fixture
def audit(configure: Callable[..., RunConfig], real_images: Path, original: FinishedRun) -> Callable[..., Prepared]:
    """What an auditor who has images instead of the model would get."""

    def go(**settings: object) -> Prepared:
        given = {"model": str(real_images), "data": str(real_images), "steps": 0, "samples": 0, "suite": SCORE}
        config = configure(**{**given, "scores": str(original.folder / "private" / "scores"), **settings})
        return prepare(config, Catalogue.discover((), config.plugin), SilentProgress())

    return go


def only_file(run: FinishedRun) -> Path:
    (file,) = (run.folder / "private" / "scores").iterdir()
    return file


def outcomes(results: Results) -> dict[str, object]:
    """All that the checks found; the signatures differ, for finished images have no sampler."""
    found = {}
    for record in results.checks:
        assert isinstance(record.outcome, Measured), record.outcome
        plain = tuple(replace(each, signature={}) for each in record.outcome.measurements)
        found[record.check] = outcome_to_json(replace(record.outcome, measurements=plain))
    return found


def test_saved_scores_give_the_results_of_the_run_that_kept_them_without_its_model(
    run_once: Run, original: FinishedRun, real_images: Path, tmp_path: Path
) -> None:
    again = run_once(
        model=str(real_images),
        data=str(real_images),
        samples=0,
        steps=0,
        suite=SCORE,
        scores=str(original.folder / "private" / "scores"),
        output=str(tmp_path / "audit"),
    )
    assert outcomes(again.results) == outcomes(original.results)
    assert only_file(again).read_bytes() == only_file(original).read_bytes()
    assert again.results.run["saved_scores"] == {"names": ["level"], "model": original.results.model["sha256"]}
    assert "saved_scores" not in original.results.run


def test_membership_is_measured_again_from_saved_scores(run_once: Run, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    for name in ("training", "holdout"):
        np.savez(tmp_path / f"{name}.npz", arr_0=rng.integers(0, 256, (60, 8, 8, 1), dtype=np.uint8))
    shared = {
        "suite": "privacy/membership_loss",
        "data": str(tmp_path / "training.npz"),
        "holdout": str(tmp_path / "holdout.npz"),
        "cache_dir": str(tmp_path / "cache"),
    }
    first = run_once(**shared, output=str(tmp_path / "original"))
    with pytest.raises(DataError, match="does not show"):
        run_once(**shared, model=shared["holdout"], samples=0, steps=0, output=str(tmp_path / "blind"))
    again = run_once(
        **shared,
        model=shared["holdout"],
        samples=0,
        steps=0,
        scores=str(tmp_path / "original"),  # the folder of the run will do
        output=str(tmp_path / "audit"),
    )
    assert len(first.results.measurements) == 3
    assert outcomes(again.results) == outcomes(first.results)


def test_the_results_name_the_digest_of_every_file_of_scores(original: FinishedRun) -> None:
    import hashlib

    file = only_file(original)
    named = original.results.artifacts[f"private/scores/{file.name}"]
    assert named == hashlib.sha256(file.read_bytes()).hexdigest()


def test_what_is_taken_costs_no_call_to_the_model(audit: Callable[..., Prepared]) -> None:
    plan = audit().plan
    assert [score.network_calls for score in plan.scores] == [0]
    assert plan.checks[0].runs


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"digest": "0" * 64}, "about other training images"),
        ({"parameters": {"noises": 9}}, "computed with noises 9; this check asks for no parameters"),
        ({"seed": 5}, "--seed 5; this run has --seed 0"),
        ({"index": np.arange(1, 9)}, "other images than the 8 that are scored"),
        ({"name": "another"}, "--scores holds no 'level' of the training images"),
    ],
)
def test_scores_of_something_else_are_not_taken_and_the_reason_says_which_and_why(
    audit: Callable[..., Prepared], original: FinishedRun, change: dict[str, object], message: str
) -> None:
    file = only_file(original)
    save_scores(file, replace(load_scores(file), **change))  # type: ignore[arg-type]
    with pytest.raises(DataError) as told:  # the only check asked for cannot run
        audit()
    assert message in str(told.value)
    assert "does not show" in str(told.value)


def test_a_file_that_was_altered_is_refused_by_name(audit: Callable[..., Prepared], original: FinishedRun) -> None:
    file = only_file(original)
    with np.load(file) as stored:
        arrays = {name: stored[name] for name in stored.files}
    arrays["values"] = arrays["values"] + 1
    np.savez(file, **arrays)
    with pytest.raises(DataError, match=rf"{file.name}.*altered after it was written"):
        audit()


def test_scores_of_another_model_are_computed_again_where_the_model_shows_its_inside(
    run_once: Run, original: FinishedRun, real_images: Path, tmp_path: Path
) -> None:
    file = only_file(original)
    kept = load_scores(file)
    save_scores(file, replace(kept, model="f" * 64, values=kept.values + 1))
    again = run_once(suite=SCORE, data=str(real_images), scores=str(file.parent), output=str(tmp_path / "again"))
    assert outcomes(again.results) == outcomes(original.results)
    assert "saved_scores" not in again.results.run


@pytest.mark.parametrize("folder", ["nowhere", "."])
def test_a_folder_without_scores_is_an_error(audit: Callable[..., Prepared], tmp_path: Path, folder: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(LdmEvalError, match="found no scores"):
        audit(scores=str(tmp_path / "empty" / folder))


def test_a_folder_with_scores_of_two_models_is_refused(
    configure: Callable[..., RunConfig], original: FinishedRun, real_images: Path, tmp_path: Path
) -> None:
    file = only_file(original)
    kept = load_scores(file)
    folder = tmp_path / "both"
    folder.mkdir()
    shutil.copy(file, folder / "a.npz")
    save_scores(folder / "b.npz", replace(kept, name="other", model="f" * 64))
    config = configure(model=str(real_images), data=str(real_images), samples=0, steps=0, suite="hostile/good")
    prepared = prepare(config, Catalogue.discover((), config.plugin), SilentProgress())
    (spec,) = (c for c in Catalogue.discover((), config.plugin).checks.values() if c.id == SCORE)
    other = replace(spec, needs=replace(spec.needs, scores=(ScoreSpec("other", "none:none", ("training",), 8, 1),)))
    with pytest.raises(DataError, match="scores of 2 models"):
        find_saved_scores(str(folder), [spec, other], prepared.real.sets, 0, prepared.found.model)
