"""Several extractors in one run, sets without pixels, prompts, statistics, and what each image contributes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ldm_eval.api import Crashed, Features, Measured, NotApplicable
from ldm_eval.errors import ConfigError, DataError
from ldm_eval.hooks.catalogue import Catalogue
from ldm_eval.run.config import RunConfig
from ldm_eval.run.data import load_images
from ldm_eval.run.embed import Embedding, embed_sets, load_extractors, refuse_unknown_features
from ldm_eval.run.pipeline import FinishedRun
from ldm_eval.run.progress import SilentProgress
from ldm_eval.store.contributions import load_contributions
from ldm_eval.store.features import FeatureStore

Run = Callable[..., FinishedRun]
PLUGIN = "spaces_plugin"


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """An npz of 30 flat grey pictures of 4x4, and a prompt for each."""
    path = tmp_path / "made.npz"
    levels = np.arange(30, dtype=np.uint8)[:, None, None, None]
    np.savez(path, arr_0=np.broadcast_to(levels, (30, 4, 4, 1)))
    rows = "".join(f"{row},{'x' * (1 + row % 3)}\n" for row in range(30))
    path.with_name("made.npz.csv").write_text("id,prompt\n" + rows)
    return path


@pytest.fixture
def reference(tmp_path: Path) -> Path:
    path = tmp_path / "reference.npz"
    np.savez(path, arr_0=np.full((20, 4, 4, 1), 10, dtype=np.uint8))
    return path


@pytest.fixture
def go(run_once: Run, images: Path, reference: Path, tmp_path: Path) -> Run:
    def settings(**given: object) -> FinishedRun:
        usual = {
            "model": str(images),
            "reference": str(reference),
            "suite": "spaces/everywhere",
            "samples": 0,
            "steps": 0,
            "plugin": PLUGIN,
            "cache_dir": str(tmp_path / "cache"),
            "extractor": "single",
        }
        return run_once(**(usual | given))

    return settings


def values(done: FinishedRun) -> dict[str, float]:
    return {measurement.name: measurement.value for measurement in done.results.measurements}


def outcome(done: FinishedRun) -> object:
    return done.results.checks[0].outcome


def test_a_check_that_asks_for_every_extractor_is_measured_in_each_under_its_name(go: Run) -> None:
    done = go(extractor="single,double", suite="spaces/everywhere,spaces/once")
    by_check = {(m.check, m.name): m for m in done.results.measurements}
    assert {name for _, name in by_check} == {"mean", "mean@double", "count"}
    assert ("spaces/once", "mean@double") not in by_check
    first, second = by_check["spaces/everywhere", "mean"], by_check["spaces/everywhere", "mean@double"]
    assert first.value == pytest.approx(14.5 - 10)
    assert second.value == pytest.approx(2 * (14.5 - 10))
    assert (first.signature["extractor"], second.signature["extractor"]) == ("single", "double")
    assert [info["name"] for info in done.results.run["further_extractors"]] == ["double"]
    assert "--extractor single,double" in done.results.reproduce


def test_where_one_space_gives_no_answer_the_others_do(go: Run, tmp_path: Path) -> None:
    given = {"spaces/everywhere": {"refuse": "single"}}
    assert set(values(go(extractor="single,double", checks=given))) == {"mean@double"}
    given = {"spaces/everywhere": {"refuse": "double"}}
    assert set(values(go(extractor="single,double", checks=given, output=str(tmp_path / "b")))) == {"mean", "count"}
    refused = go(extractor="single", checks={"spaces/everywhere": {"refuse": "single"}}, output=str(tmp_path / "c"))
    assert outcome(refused) == NotApplicable("not in single")


def test_a_crash_in_a_further_space_is_a_crash_that_names_it(go: Run) -> None:
    done = go(extractor="single,double", checks={"spaces/everywhere": {"break": "double"}})
    assert outcome(done) == Crashed("with the extractor double: RuntimeError: it breaks")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"extractor": "single,single"}, "single is named twice"),
        ({"extractor": "single,doubel"}, "Did you mean 'double'"),
        ({"extractor_weights": "a.pt,b.pt"}, "two files for one extractor"),
        ({"extractor": "single,double", "extractor_weights": "dubble=b.pt"}, "no extractor 'dubble'"),
    ],
)
def test_extractors_that_cannot_be_are_refused(go: Run, settings: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        go(**settings)


def test_weights_are_given_to_the_extractor_they_are_named_for(configure: Callable[..., RunConfig]) -> None:
    seen: dict[str, Path | None] = {}
    catalogue = Catalogue.discover((), (PLUGIN,))
    for name in ("single", "double"):
        spec = catalogue.extractors[name]
        object.__setattr__(spec, "load", lambda context, name=name: seen.setdefault(name, context.weights))
    load_extractors(configure(extractor="single,double", extractor_weights="double=b.pt,a.pt"), "cpu", catalogue)
    assert seen == {"single": Path("a.pt"), "double": Path("b.pt")}


def test_what_each_image_contributes_is_kept_beside_the_results(go: Run) -> None:
    done = go(extractor="single,double")
    kept = {
        (one.name, one.role): one.values
        for one in load_contributions(done.folder / "contributions/spaces-everywhere.npz")
    }
    assert set(kept) == {(n, r) for n in ("mean", "mean@double") for r in ("samples", "reference")}
    assert kept["mean", "samples"] == pytest.approx(np.arange(30) - 14.5)
    assert "contributions/spaces-everywhere.npz" in done.results.artifacts
    assert kept["mean@double", "samples"] == pytest.approx(2 * (np.arange(30) - 14.5))


def test_prompts_are_embedded_by_the_extractor_that_reads_text_although_it_is_not_the_first(go: Run) -> None:
    done = go(suite="spaces/prompts", extractor="single,reader")
    (found,) = done.results.measurements
    assert (found.name, found.value, found.note) == ("mean", pytest.approx(2.0), "xxx")
    assert found.signature["extractor"] == "reader"


def test_without_prompts_or_an_extractor_for_them_it_is_said_what_to_do(go: Run, reference: Path) -> None:
    with pytest.raises(DataError, match=r"add one to --extractor \(.*reader"):
        go(suite="spaces/prompts", extractor="single")
    with pytest.raises(DataError, match="column 'prompt'"):
        go(suite="spaces/prompts", extractor="reader", model=str(reference))


def test_reference_statistics_are_those_of_the_dimension_of_the_extractor(go: Run, tmp_path: Path) -> None:
    path = tmp_path / "statistics.npz"
    np.savez(path, mu=np.zeros(5), sigma=np.eye(5), mu_s=np.ones(3), sigma_s=2 * np.eye(3))
    assert values(go(suite="spaces/statistics", reference_statistics=str(path)))["mean"] == 6.0
    np.savez(path, mu=np.zeros(5), sigma=np.eye(5))
    done = go(suite="spaces/statistics", reference_statistics=str(path), output=str(tmp_path / "other"))
    assert outcome(done) == NotApplicable("no statistics of this dimension")
    with pytest.raises(DataError, match="--reference-statistics"):
        go(suite="spaces/statistics", output=str(tmp_path / "third"))
    with pytest.raises(DataError, match="There is no file"):
        go(suite="spaces/statistics", reference_statistics="nowhere.npz", output=str(tmp_path / "fourth"))


def bare(path: Path, store: Path):
    """The images of ``path`` with features of ``single`` and without their pixels."""
    catalogue = Catalogue.discover((), (PLUGIN,))
    (extractor,) = load_extractors(RunConfig(extractor=("single",)), "cpu", catalogue)
    images = load_images(str(path), catalogue, what="Data")
    from dataclasses import replace

    features = replace(extractor.extract(images.rgb()), extractor="single")
    empty = np.zeros((len(images), 1, 0, 0), dtype=np.uint8)
    without = replace(images, pixels=empty, known_features={extractor.info.fingerprint: features})
    return without, Embedding(extractor, "here", FeatureStore(store), SilentProgress())


def test_features_that_came_with_a_set_are_taken_and_nothing_is_computed(reference: Path, tmp_path: Path) -> None:
    without, at = bare(reference, tmp_path / "store")
    at.extractor.seen.clear()
    stored = embed_sets({"reference": without}, at)
    assert np.array_equal(np.load(stored[without.digest].values), np.full((20, 3), 10.0, dtype=np.float32))
    assert at.extractor.seen == []
    assert at.store.find(without.digest, at.extractor.info.fingerprint, "here") is None


def test_features_of_another_extractor_are_refused_with_the_name_of_theirs(reference: Path, tmp_path: Path) -> None:
    without, _ = bare(reference, tmp_path / "store")
    catalogue = Catalogue.discover((), (PLUGIN,))
    others = load_extractors(RunConfig(extractor=("double",)), "cpu", catalogue)
    with pytest.raises(ConfigError, match="came as features of single, not of double"):
        refuse_unknown_features({"reference": without}, others)


def test_features_of_another_size_than_the_set_are_refused(reference: Path, tmp_path: Path) -> None:
    from dataclasses import replace

    without, at = bare(reference, tmp_path / "store")
    few = {key: Features(found.values[:3]) for key, found in without.known_features.items()}
    with pytest.raises(ConfigError, match="make the file again"):
        embed_sets({"reference": replace(without, known_features=few)}, at)


def test_a_check_that_reads_pixels_does_not_run_on_features_alone(
    go: Run, reference: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without, _ = bare(reference, tmp_path / "store")
    import ldm_eval.run.data as data

    real = data.load_images
    monkeypatch.setattr(
        data, "load_images", lambda text, *a, **k: without if text == str(reference) else real(text, *a, **k)
    )
    done = go(suite="spaces/everywhere,spaces/pixels")
    outcomes = {record.check: record.outcome for record in done.results.checks}
    assert isinstance(outcomes["spaces/everywhere"], Measured)
    assert values(done)["mean"] == pytest.approx(4.5)
    refused = outcomes["spaces/pixels"]
    assert isinstance(refused, NotApplicable)
    assert "holds their features only" in refused.reason


def test_a_run_whose_checks_look_at_no_samples_makes_none(run_once: Run, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("training", "holdout"):
        np.savez(tmp_path / f"{name}.npz", arr_0=rng.integers(0, 256, (60, 8, 8, 1), dtype=np.uint8))
    real = {"data": str(tmp_path / "training.npz"), "holdout": str(tmp_path / "holdout.npz")}
    given = {"suite": "privacy/training_set", "extractor": "single", "plugin": PLUGIN, **real}
    done = run_once(**given)
    assert isinstance(outcome(done), Measured)
    assert done.results.run["samples"] == 0
    assert "samples" not in done.results.artifacts
    assert not (done.folder / "samples").exists()
    assert run_once(**given).results == done.results
