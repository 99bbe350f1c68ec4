"""A reference file in the place of its images: equal numbers, and nothing is asked of pixels that are not there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ldm_eval.api import Crashed, Measured, NotApplicable
from ldm_eval.errors import ConfigError, DataError
from ldm_eval.hooks.catalogue import Catalogue
from ldm_eval.run.config import RunConfig, resolve_config
from ldm_eval.run.data import gather_real_images, load_images
from ldm_eval.run.embed import load_extractors
from ldm_eval.run.pipeline import run
from ldm_eval.run.progress import SilentProgress
from ldm_eval.run.reference import WrittenReference, make_reference
from ldm_eval.stats.digests import image_digest
from ldm_eval.store.reference import read_reference, write_reference
from ldm_eval.store.results import Results
from ldm_eval.store.statistics import read_statistics

N = 60


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Samples and three sets of real images, a reference file of each real set, and a cache of features."""
    root = tmp_path_factory.mktemp("reference")
    for seed, name in enumerate(("samples", "reference", "holdout", "training")):
        pixels = np.random.default_rng(seed).integers(0, 256, (N, 8, 8, 3), dtype=np.uint8)
        np.savez(root / f"{name}.npz", pixels)
        rows = "\n".join(f"{row},{row % 3},{'ab'[row % 2]}" for row in range(N))
        (root / f"{name}.npz.csv").write_text(f"id,label,kind\n{rows}\n")
        if seed:
            _make(root, name)
    return root


def _config(root: Path, **settings: Any) -> RunConfig:
    return resolve_config({"cache_dir": str(root / "cache"), "threads": 1, **settings}, {}).config


def _make(root: Path, name: str, output: str = "", **settings: Any) -> WrittenReference:
    only = settings.pop("statistics_only", False)
    path = root / (output or f"{name}.ref.npz")
    config = _config(root, **settings)
    data = str(root / f"{name}.npz")
    return make_reference(data, path, config, Catalogue.discover(), SilentProgress(), statistics_only=only)


@pytest.fixture
def evaluate(place: Path, tmp_path: Path) -> Callable[..., Results]:
    def go(output: str, suite: str, **files: str) -> Results:
        named = {role: str(place / name) for role, name in files.items()}
        model, folder = str(place / "samples.npz"), str(tmp_path / output)
        config = _config(place, model=model, suite=suite, output=folder, **named)
        return run(config, Catalogue.discover(), SilentProgress(), policy_digest=None).results

    return go


def test_a_reference_file_gives_the_numbers_of_its_images(evaluate: Callable[..., Results]) -> None:
    roles = ("reference", "holdout", "data")
    names = {"reference": "reference", "holdout": "holdout", "data": "training"}
    with_images = evaluate("images", "quality", **{role: f"{names[role]}.npz" for role in roles})
    with_files = evaluate("files", "quality", **{role: f"{names[role]}.ref.npz" for role in roles})
    assert len(with_images.measurements) > 10
    assert [m for m in with_files.measurements if m not in with_images.measurements] == []
    assert [m.name for m in with_files.measurements] == [m.name for m in with_images.measurements if _by_features(m)]
    assert with_files.data == with_images.data


def _by_features(measurement: Any) -> bool:
    return "extractor" in measurement.signature or "extractor_digest" in measurement.signature


@pytest.fixture
def _small_extractors(monkeypatch: pytest.MonkeyPatch) -> None:
    """``single`` and ``double`` of a plugin made for tests."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))


@pytest.mark.usefixtures("_small_extractors")
def test_several_extractors_lie_in_one_file(place: Path, tmp_path: Path) -> None:
    catalogue = Catalogue.discover((), ("spaces_plugin",))
    path = tmp_path / "two.npz"
    config = _config(place, plugin="spaces_plugin", extractor="single,double")
    written = make_reference(str(place / "reference.npz"), path, config, catalogue, SilentProgress())
    assert [info.name for info in written.extractors] == ["single", "double"]

    def measure(reference: Path, extractor: str) -> dict[str, float]:
        files = {"reference": str(reference), "reference_statistics": str(path)}
        settings = {"suite": "spaces/everywhere,spaces/statistics", "plugin": "spaces_plugin", "extractor": extractor}
        output = str(tmp_path / f"{reference.stem}-{extractor}")
        chosen = _config(place, model=str(place / "samples.npz"), output=output, **settings, **files)
        results = run(chosen, catalogue, SilentProgress(), policy_digest=None).results
        return {f"{m.check} {m.name}": m.value for m in results.measurements}

    values = measure(path, "single,double")
    assert values == measure(place / "reference.npz", "single,double")
    assert "spaces/everywhere mean@double" in values
    assert values["spaces/everywhere mean@double"] == pytest.approx(2.0 * values["spaces/everywhere mean"], rel=1e-5)
    turned = measure(path, "double,single")
    assert turned["spaces/everywhere mean"] == values["spaces/everywhere mean@double"]


def test_checks_that_look_at_pixels_say_what_they_lack_and_none_crashes(evaluate: Callable[..., Results]) -> None:
    done = evaluate("all", "all", reference="reference.ref.npz", holdout="holdout.ref.npz", data="training.ref.npz")
    outcomes = {record.check: record.outcome for record in done.checks}
    assert [check for check, outcome in outcomes.items() if isinstance(outcome, Crashed)] == []
    copies = outcomes["privacy/near_copies"]
    assert isinstance(copies, NotApplicable)
    assert "features only" in copies.reason
    assert isinstance(outcomes["quality/frechet_distance"], Measured)


def test_a_holdout_without_pixels_leaves_the_search_for_copies_alone(evaluate: Callable[..., Results]) -> None:
    """The check uses a holdout only when there is one; features are none for it."""
    done = evaluate("copies", "privacy/near_copies", holdout="holdout.ref.npz", data="training.npz")
    (record,) = done.checks
    assert not isinstance(record.outcome, Crashed), record.outcome


def test_what_is_known_of_the_images_comes_along(place: Path) -> None:
    config = _config(place, model="m", reference=str(place / "reference.ref.npz"))
    found = gather_real_images(config, None, Catalogue.discover()).sets["reference"]
    original = load_images(str(place / "reference.npz"), Catalogue.discover(), what="Images")
    assert (found.digest, found.ids, found.shape) == (image_digest(original.pixels), original.ids, (3, 0, 0))
    np.testing.assert_array_equal(found.labels, original.labels)
    np.testing.assert_array_equal(found.groups["kind"], original.groups["kind"])


def test_images_that_are_here_in_another_role_are_used_as_they_are(place: Path) -> None:
    files = {"holdout": str(place / "holdout.npz"), "reference": str(place / "holdout.ref.npz")}
    sets = gather_real_images(_config(place, model="m", **files), None, Catalogue.discover()).sets
    assert sets["reference"] is sets["holdout"]
    assert sets["reference"].has_pixels


@pytest.mark.parametrize("limit", [N, N + 5])
def test_a_limit_that_takes_them_all_is_none(place: Path, limit: int) -> None:
    config = _config(place, model="m", reference=str(place / "reference.ref.npz"), limit=limit)
    assert len(gather_real_images(config, None, Catalogue.discover()).sets["reference"]) == N


def test_a_limit_needs_the_images_or_a_smaller_reference(place: Path, tmp_path: Path) -> None:
    config = _config(place, model="m", reference=str(place / "reference.ref.npz"), limit=20)
    with pytest.raises(DataError, match=r"--limit 20.*ldm-eval reference DATA --limit 20"):
        gather_real_images(config, None, Catalogue.discover())
    written = _make(place, "reference", str(tmp_path / "small.npz"), limit=20)
    config = _config(place, model="m", reference=str(tmp_path / "small.npz"), limit=20)
    small = gather_real_images(config, None, Catalogue.discover()).sets["reference"]
    images = load_images(str(place / "reference.npz"), Catalogue.discover(), what="Images")
    assert (len(small), written.image_digest) == (20, image_digest(images.pixels[:20]))


def test_the_features_of_another_extractor_are_refused_before_sampling(
    place: Path, evaluate: Callable[..., Results]
) -> None:
    extractor = load_extractors(_config(place), "cpu", Catalogue.discover())[0]
    reference = read_reference(place / "reference.ref.npz")
    other = replace(extractor.info, name="other", fingerprint="0" * 64)
    features = reference.images.known_features[extractor.info.fingerprint]
    write_reference(place / "other.ref.npz", reference.images, [(other, features)], {})
    with pytest.raises(ConfigError, match="came as features of other, not of"):
        evaluate("other", "quality", reference="other.ref.npz")


def test_statistics_alone_are_no_reference_but_are_statistics(place: Path, tmp_path: Path) -> None:
    whole = read_reference(place / "reference.ref.npz")
    _make(place, "reference", str(tmp_path / "stats.npz"), statistics_only=True)
    config = _config(place, model="m", reference=str(tmp_path / "stats.npz"))
    with pytest.raises(DataError, match="--reference-statistics"):
        gather_real_images(config, None, Catalogue.discover())
    (found,) = read_statistics(tmp_path / "stats.npz")
    assert (found.n, found.digest) == (N, whole.statistics()[0].digest)
    assert (tmp_path / "stats.npz").stat().st_size < (place / "reference.ref.npz").stat().st_size


def test_a_reference_file_is_no_data_to_train_on(place: Path) -> None:
    with pytest.raises(DataError, match=r"Training data .* here the images are needed"):
        load_images(str(place / "training.ref.npz"), Catalogue.discover(), what="Training data")


def test_equal_images_give_equal_files(place: Path, tmp_path: Path) -> None:
    _make(place, "reference", str(tmp_path / "again.npz"))
    assert (tmp_path / "again.npz").read_bytes() == (place / "reference.ref.npz").read_bytes()


@pytest.mark.parametrize(
    ("output", "says"),
    [
        ("reference.npz", "these are the images themselves"),
        ("samples.npz", "is there already and is no reference"),
        ("reference.bin", "call it reference.npz"),
        ("folder.npz", "this is a folder"),
        ("samples.npz.csv/r.npz", "nothing can be written into"),
    ],
)
def test_an_output_that_cannot_be_is_refused_first(place: Path, output: str, says: str) -> None:
    (place / "folder.npz").mkdir(exist_ok=True)
    with pytest.raises(ConfigError, match=says):
        _make(place, "reference", output)


def test_one_image_makes_no_reference(place: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has 1 image"):
        _make(place, "reference", str(tmp_path / "one.npz"), limit=1)
