"""The holdout images after the model's own autoencoder: made where a check reads them, and nowhere else."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ldm_eval.api import Crashed, Measured
from ldm_eval.errors import DataError
from ldm_eval.hooks.catalogue import Catalogue
from ldm_eval.run.config import RunConfig
from ldm_eval.run.estimate import with_cost
from ldm_eval.run.pipeline import FinishedRun, run
from ldm_eval.run.prepare import prepare
from ldm_eval.run.progress import Progress, SilentProgress
from ldm_eval.run.reconstruct import reconstruct
from ldm_eval.testing.evidence import image_set

Run = Callable[..., FinishedRun]
LATENT = {"model": "latent:halves", "plugin": "latent_plugin", "steps": 0}


def two_by_two_means(pixels: np.ndarray) -> np.ndarray:
    n, c, h, w = pixels.shape
    means = pixels.reshape(n, c, h // 2, 2, w // 2, 2).mean(axis=(3, 5))
    return np.rint(np.repeat(np.repeat(means, 2, axis=2), 2, axis=3))


def pixels_of(path: Path) -> np.ndarray:
    with np.load(path) as stored:
        return np.asarray(stored["arr_0"]).transpose(0, 3, 1, 2)


def test_reconstructions_are_those_of_the_holdout_image_by_image_and_nothing_of_them_stays(
    run_once: Run, real_images: Path
) -> None:
    done = run_once(**LATENT, suite="latent/error,latent/scored", holdout=str(real_images))
    measurement, score = done.results.measurements
    images = pixels_of(real_images)
    expected = np.abs(images - two_by_two_means(images)).mean()
    assert measurement.value == pytest.approx(expected, abs=0.3)  # means at half a level are rounded either way
    assert measurement.n == 40
    assert score.n == 9
    (record,) = (record for record in done.results.data if record.role == "reconstruction")
    assert "after the model's autoencoder" in record.name
    assert record.n == 40
    (holdout,) = (record for record in done.results.data if record.role == "holdout")
    assert record.digest != holdout.digest
    assert not (done.folder / "work").exists()
    scores = set((done.folder / "private/scores").iterdir())
    assert not set(done.folder.rglob("*reconstruction*")) - scores


@pytest.mark.parametrize(("model", "there"), [("latent:halves", 1.0), ("latent:pixels", 0.0)])
def test_a_check_that_can_do_without_gets_them_where_it_can(
    run_once: Run, real_images: Path, model: str, there: float
) -> None:
    done = run_once(**LATENT | {"model": model}, suite="latent/optional", holdout=str(real_images))
    assert [measurement.value for measurement in done.results.measurements] == [there]


@pytest.mark.parametrize("holdout", [True, False])
@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("latent:pixels", "this model works on pixels; there is no autoencoder"),
        ("latent:closed", "does not show its inside"),
        ("finished images", "does not show its inside"),
    ],
)
def test_a_model_without_an_autoencoder_is_not_applicable_with_the_reason(
    configure: Callable[..., RunConfig], real_images: Path, model: str, reason: str, holdout: bool
) -> None:
    given = {"model": str(real_images), "samples": 0} if model == "finished images" else {"model": model}
    given |= {"holdout": str(real_images)} if holdout else {}
    config = configure(**{**LATENT, **given}, suite="latent/error,latent/levels")
    plan = prepare(config, Catalogue.discover((), config.plugin), SilentProgress()).plan
    reasons = {item.spec.id: item.reason for item in plan.checks}
    assert reason in reasons["latent/error"]
    assert reasons["latent/levels"] == ""
    assert plan.reconstructions == 0


def test_without_a_holdout_the_user_is_told_which_option_brings_one(run_once: Run) -> None:
    with pytest.raises(DataError, match=r"needs holdout images: name real images .* with --holdout"):
        run_once(**LATENT, suite="latent/error")


def test_images_of_another_shape_are_told_before_the_run(run_once: Run, tmp_path: Path) -> None:
    np.savez(tmp_path / "large.npz", arr_0=np.zeros((40, 16, 16, 3), dtype=np.uint8))
    with pytest.raises(DataError, match="autoencoder takes images of 1x8x8, the holdout images are 3x16x16"):
        run_once(**LATENT, suite="latent/error", holdout=str(tmp_path / "large.npz"))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("kind", "error"), [("raises", "no code today"), ("nan", "NaN or infinite"), ("small", r"decoded \(32, 1, 4, 8\)")]
)
def test_an_autoencoder_that_breaks_spoils_only_the_checks_that_need_it(
    run_once: Run, real_images: Path, kind: str, error: str
) -> None:
    done = run_once(
        **LATENT | {"model": f"latent:{kind}"},
        suite="latent/error,latent/levels,latent/scored",
        holdout=str(real_images),
    )
    outcomes = {record.check: record.outcome for record in done.results.checks}
    for check in ("latent/error", "latent/scored"):
        crashed = outcomes[check]
        assert isinstance(crashed, Crashed)
        assert crashed.error.startswith("the holdout images could not be reconstructed: ")
        assert re.search(error, crashed.error)
    assert isinstance(outcomes["latent/levels"], Measured)


def test_batch_size_changes_no_reconstruction_beyond_one_level(real_images: Path, tmp_path: Path) -> None:
    from latent_plugin import LatentModel  # importable once the fixture has put its folder on the path

    holdout = image_set(np.ascontiguousarray(pixels_of(real_images)), "real")
    made = [
        reconstruct(LatentModel("halves"), holdout, batch, tmp_path / f"{batch}.npy", SilentProgress()).pixels
        for batch in (1, 7, 64)
    ]
    assert all(np.abs(one.astype(int) - made[-1]).max() <= 1 for one in made)
    assert np.abs(made[-1] - two_by_two_means(holdout.pixels)).max() <= 1


class _Interrupting(Progress):
    """Interrupts at the first check, when the reconstructions are done, and counts what is made."""

    def __init__(self, stage: str) -> None:
        self.stages: list[str] = []
        self._at = stage

    def start(self, stage: str, total: int | None) -> None:
        self.stages.append(stage)
        if stage == self._at:
            raise KeyboardInterrupt

    def advance(self, units: int = 1) -> None: ...
    def finish(self) -> None: ...
    def note(self, text: str) -> None: ...


def test_an_interrupted_run_goes_on_to_the_same_bytes_and_reconstructs_once(
    configure: Callable[..., RunConfig], run_once: Run, real_images: Path, tmp_path: Path
) -> None:
    given = {**LATENT, "suite": "latent/error", "holdout": str(real_images)}
    straight = run_once(**given, output=str(tmp_path / "straight"))
    config = configure(**given)
    catalogue = Catalogue.discover((), config.plugin)
    for stage in ("reconstructions", "checks"):
        with pytest.raises(KeyboardInterrupt):
            run(config, catalogue, _Interrupting(stage), None)
    last = _Interrupting("")
    done = run(config, catalogue, last, None)
    assert "reconstructions" not in last.stages
    assert (done.folder / "results.json").read_bytes() == (straight.folder / "results.json").read_bytes()


def test_the_plan_counts_them_and_their_cost(configure: Callable[..., RunConfig], real_images: Path) -> None:
    config = configure(**LATENT, suite="latent/error", holdout=str(real_images))
    plan = with_cost(prepare(config, Catalogue.discover((), config.plugin), SilentProgress()))
    assert plan.reconstructions == 40
    assert plan.cost is not None
    assert plan.cost.parts["reconstructions"] > 0
    assert "reconstruction" not in plan.embed  # the check reads pixels
    config = configure(**LATENT, suite="latent/levels", holdout=str(real_images))
    plan = with_cost(prepare(config, Catalogue.discover((), config.plugin), SilentProgress()))
    assert plan.cost is not None
    assert "reconstructions" not in plan.cost.parts


def test_the_shipped_check_measures_a_latent_model(run_once: Run, tmp_path: Path) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (60, 8, 8, 1), dtype=np.uint8)
    np.savez(tmp_path / "holdout.npz", arr_0=pixels)
    given = {**LATENT, "suite": "quality/reconstruction_distance", "holdout": str(tmp_path / "holdout.npz")}
    done = run_once(**given, cache_dir=str(tmp_path / "cache"), samples=8)
    found = {measurement.name: measurement for measurement in done.results.measurements}
    assert set(found) == {"rfd", "reconstruction_error"}
    assert found["rfd"].interval.low > 0
    assert found["rfd"].signature["extractor"] == "efficientnet-lite0"
    assert json.loads((done.folder / "results.json").read_text())["outcomes"][0]["status"] == "measured"
