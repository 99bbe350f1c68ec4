"""Canaries: coin flips that a training obeys, its checkpoint remembers, and a run finds again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binom

from ldm_eval.api import CANARY, ImageSet, Measured, Scalar, TrainingRecord
from ldm_eval.errors import ConfigError, DataError
from ldm_eval.hooks.catalogue import Catalogue
from ldm_eval.run.canaries import INCLUDED, LEFT_OUT, Canaries, flip_coins, read_canaries
from ldm_eval.run.config import resolve_config
from ldm_eval.run.data import RealImages, gather_real_images, load_images
from ldm_eval.run.models import load_model
from ldm_eval.run.pipeline import FinishedRun
from ldm_eval.run.progress import SilentProgress
from ldm_eval.run.training import TrainSettings, train_model
from ldm_eval.stats.digests import image_digest

TINY: dict[str, Scalar] = {
    "channels": 8,
    "multipliers": "1,2",
    "blocks": 1,
    "timesteps": 60,
    "warmup": 1,
    "curves": False,
}
TINY_AUTOENCODER: dict[str, Scalar] = {
    "channels": 8,
    "multipliers": "1",
    "latent_channels": 3,
    "downsampling": 2,
    "curves": False,
}


def _pixels(n: int = 120, seed: int = 0, side: int = 8, dtype: Any = np.uint8) -> NDArray[Any]:
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max + 1, (n, 1, side, side), dtype=dtype)


def _set(pixels: NDArray[Any], **changes: Any) -> ImageSet:
    names = tuple(f"image-{row}" for row in range(len(pixels)))
    return replace(ImageSet("toy", "train", pixels, names, image_digest(pixels)), **changes)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    np.savez(tmp_path / "data.npz", _pixels()[:, 0, :, :, None])
    return tmp_path / "data.npz"


def _train(images: Path, output: Path, **changes: Any) -> TrainingRecord:
    given: dict[str, Any] = {"data": str(images), "output": str(output), "steps": 2, "batch_size": 8, "canaries": 60}
    train_model(
        TrainSettings(**{"options": TINY, "device": "cpu", **given, **changes}), Catalogue.discover(), SilentProgress()
    )
    record = load_model(str(output), "", "cpu", Catalogue.discover()).model.identity.training
    assert record is not None
    return record


def _gather(record: TrainingRecord | None, **settings: Any) -> RealImages:
    config = resolve_config({"model": "m.pt", **settings}, {}).config
    return gather_real_images(config, record, Catalogue.discover())


# --- the coins


def test_flips_are_a_function_of_the_seed_and_the_data() -> None:
    data = _set(_pixels())
    assert str(flip_coins(data, 60, 3)) == str(flip_coins(data, 60, 3))
    assert str(flip_coins(data, 60, 3)) != str(flip_coins(data, 60, 4))
    renamed = _set(_pixels(), name="other", ids=tuple(map(str, range(120))))
    assert str(flip_coins(renamed, 60, 3)) == str(flip_coins(data, 60, 3))


def test_the_coin_is_fair_and_does_not_look_at_the_image() -> None:
    data, heads, first_half = _set(_pixels(40)), 0, 0
    for seed in range(300):
        flipped = flip_coins(data, 20, seed)
        assert len(set(flipped.rows.tolist())) == 20
        heads += int(flipped.included.sum())
        first_half += int(flipped.included[:10].sum())
    for count, total in ((heads, 6000), (first_half, 3000)):
        assert binom.ppf(0.0005, total, 0.5) <= count <= binom.ppf(0.9995, total, 0.5)


def test_every_image_is_as_likely_to_be_a_canary() -> None:
    data = _set(_pixels(40))
    chosen = np.bincount(np.concatenate([flip_coins(data, 20, seed).rows for seed in range(400)]), minlength=40)
    assert chosen.min() >= binom.ppf(1e-6, 400, 0.5)
    assert chosen.max() <= binom.ppf(1 - 1e-6, 400, 0.5)


def test_what_is_known_of_an_image_follows_it() -> None:
    rows = np.arange(120)
    data = _set(
        _pixels(),
        labels=rows % 3,
        prompts=np.array([f"prompt {row}" for row in rows]),
        groups={"site": np.array([f"site {row % 2}" for row in rows])},
    )
    flipped = flip_coins(data, 60, 0)
    chosen, trained = flipped.of(data), flipped.trained_on(data)
    assert list(chosen.groups[CANARY]) == [INCLUDED if inside else LEFT_OUT for inside in flipped.included]
    gone = set(flipped.rows[~flipped.included].tolist())
    for subset, kept in ((chosen, flipped.rows), (trained, np.array([row for row in rows if row not in gone]))):
        assert subset.ids == tuple(f"image-{row}" for row in kept)
        assert subset.labels is not None
        assert subset.prompts is not None
        np.testing.assert_array_equal(subset.labels, kept % 3)
        assert subset.prompts.tolist() == [f"prompt {row}" for row in kept]
        assert subset.groups["site"].tolist() == [f"site {row % 2}" for row in kept]
        np.testing.assert_array_equal(subset.pixels, data.pixels[kept])
        assert subset.digest == image_digest(subset.pixels)
    assert CANARY not in trained.groups


def _with_twins(side: int, dtype: Any) -> NDArray[Any]:
    """60 images; the last 20 are those before them again, every second one with a grain of noise."""
    pixels = _pixels(40, side=side, dtype=dtype)
    twins = pixels[20:].astype(np.int64)
    level = 1 if dtype == np.uint8 else 257
    twins[::2] += level * np.random.default_rng(1).integers(-2, 3, twins[::2].shape)
    return np.concatenate([pixels, np.clip(twins, 0, np.iinfo(dtype).max).astype(dtype)])


@pytest.mark.parametrize(("side", "dtype"), [(8, np.uint8), (8, np.uint16), (50, np.uint8)])
def test_an_image_with_a_duplicate_or_near_duplicate_is_no_canary(side: int, dtype: Any) -> None:
    """Left out, its twin would still be trained on."""
    for seed in range(10):
        assert flip_coins(_set(_with_twins(side, dtype)), 15, seed).rows.max() < 20


def test_more_canaries_than_single_images_are_refused() -> None:
    with pytest.raises(ConfigError, match="only 20 of the 60 training images have no duplicate"):
        flip_coins(_set(_with_twins(8, np.uint8)), 21, 0)


@pytest.mark.parametrize("count", [1, 61, 500])
def test_fewer_than_two_or_more_than_half_are_refused(count: int) -> None:
    with pytest.raises(ConfigError, match="give 2 to 60, half of the 120 training images"):
        flip_coins(_set(_pixels()), count, 0)


def test_a_class_that_would_be_left_out_whole_is_refused() -> None:
    labels = np.zeros(120, dtype=np.int64)
    flipped = flip_coins(_set(_pixels()), 60, 0)
    labels[flipped.rows[~flipped.included][0]] = 1
    with pytest.raises(ConfigError, match="left out every image of class 1"):
        flip_coins(_set(_pixels(), labels=labels), 60, 0)


# --- what a checkpoint says


def test_the_text_of_a_checkpoint_reads_back() -> None:
    data = _set(_pixels())
    flipped = flip_coins(data, 60, 0)
    read = read_canaries(str(flipped), data, len(flipped.trained_on(data)))
    np.testing.assert_array_equal(read.rows, flipped.rows)
    np.testing.assert_array_equal(read.included, flipped.included)


@pytest.mark.parametrize(
    ("text", "trained_on"),
    [
        (" ", 120),
        ("17+", 120),
        ("17+ 40", 120),
        ("17+ 17-", 119),
        ("40- 17+", 119),  # out of order
        ("17+ 120-", 119),  # there is no such row
        ("17+ -4-", 119),
        ("17+ 40- 99+", 120),  # one was left out, and the file says all were trained on
        ("17+ 40- 99+", 118),
        ("17+ 40- 9999999999999999999999+", 119),
        ("17+ ४०-", 119),
    ],
)
def test_text_that_no_training_wrote_is_refused(text: str, trained_on: int) -> None:
    with pytest.raises(DataError, match="are not those of a training"):
        read_canaries(text, _set(_pixels()), trained_on)


# --- training and finding them again


@pytest.mark.parametrize("name", ["m.pt", "m.safetensors"])
def test_a_checkpoint_remembers_and_a_run_parts_the_data(images: Path, tmp_path: Path, name: str) -> None:
    record = _train(images, tmp_path / name)
    data = load_images(str(images), Catalogue.discover(), what="data")
    flipped = flip_coins(data, 60, 0)
    assert record.canaries == str(flipped)
    assert record.data_digest == data.digest
    assert record.data_size == 120 - int((~flipped.included).sum())
    found = _gather(record).sets
    assert found["training"].digest == flipped.trained_on(data).digest
    assert len(found["training"]) == record.data_size
    assert found["canaries"].ids == flipped.of(data).ids
    np.testing.assert_array_equal(found["canaries"].groups[CANARY], flipped.of(data).groups[CANARY])


def test_both_halves_of_a_latent_model_obey_the_same_flips(
    images: Path, tmp_path: Path, run_once: Callable[..., FinishedRun]
) -> None:
    """Same seed, same number, same data: otherwise the autoencoder would have seen what the other half left out."""
    from ldm_eval_native.autoencoder_file import load_autoencoder

    _train_autoencoder(images, tmp_path / "ae.pt")
    record = _train(images, tmp_path / "m.pt", options={**TINY, "autoencoder": str(tmp_path / "ae.pt")})
    assert load_autoencoder(tmp_path / "ae.pt").training == record
    found = run_once(model=str(tmp_path / "m.pt"), suite="privacy/empirical_epsilon", samples=2, steps=2)
    assert isinstance(found.results.checks[0].outcome, Measured)
    assert found.results.checks[0].outcome.measurements[0].n == 60


def _train_autoencoder(images: Path, output: Path) -> None:
    settings = TrainSettings(
        data=str(images), output=str(output), trainer="autoencoder", steps=2, batch_size=8, canaries=60,
        device="cpu", options=TINY_AUTOENCODER,
    )  # fmt: skip
    train_model(settings, Catalogue.discover(), SilentProgress())


def test_a_training_is_shown_the_included_canaries_and_never_one_left_out(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[ImageSet] = []

    class StoppedError(Exception):
        pass

    def train(self: object, request: Any, report: object) -> None:
        seen.append(request.data)
        raise StoppedError

    monkeypatch.setattr("ldm_eval_native.trainer.NativeTrainer.train", train)
    with pytest.raises(StoppedError):
        _train(images, tmp_path / "m.pt")
    data = load_images(str(images), Catalogue.discover(), what="data")
    flipped = flip_coins(data, 60, 0)
    assert not set(seen[0].ids) & {data.ids[row] for row in flipped.rows[~flipped.included]}
    assert {data.ids[row] for row in flipped.rows[flipped.included]} <= set(seen[0].ids)


def test_a_training_goes_on_with_the_same_canaries_only(images: Path, tmp_path: Path) -> None:
    first = _train(images, tmp_path / "m.pt")
    assert replace(_train(images, tmp_path / "m.pt", steps=4), steps=2) == first
    for changes in ({"canaries": 58}, {"canaries": 0}):
        with pytest.raises(ConfigError, match="canaries: 60 then"):
            _train(images, tmp_path / "m.pt", steps=6, **changes)
    with pytest.raises(ConfigError, match="seed: 0 then, 1 now"):
        _train(images, tmp_path / "m.pt", steps=6, seed=1)


def test_the_holdout_may_not_be_the_data_the_canaries_were_taken_from(images: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nothing would be held out"):
        _train(images, tmp_path / "m.pt", holdout=str(images))


def test_without_canaries_nothing_changes(images: Path, tmp_path: Path) -> None:
    record = _train(images, tmp_path / "m.pt", canaries=0)
    assert (record.canaries, record.data_size) == ("", 120)
    found = _gather(record)
    assert len(found.sets["training"]) == 120
    assert "was not trained with canaries" in found.absent["canaries"]
    assert "was not trained with canaries" in _gather(None, data=str(images)).absent["canaries"]


def test_other_data_than_the_checkpoint_names_hold_no_canaries(images: Path, tmp_path: Path) -> None:
    record = _record(images)
    np.savez(tmp_path / "other.npz", _pixels(seed=1)[:, 0, :, :, None])
    found = _gather(record, data=str(tmp_path / "other.npz"))
    assert "canaries" not in found.sets
    assert "name them with --data" in found.absent["canaries"]
    assert len(found.sets["training"]) == 120
    np.savez(tmp_path / "moved.npz", _pixels()[:, 0, :, :, None])
    assert len(_gather(record, data=str(tmp_path / "moved.npz")).sets["canaries"]) == 60
    images.unlink()
    assert "name them with --data" in _gather(record).absent["canaries"]


def test_a_limit_takes_the_first_canaries_whatever_the_coin_said(images: Path) -> None:
    record = _record(images)
    whole, few = _gather(record).sets, _gather(record, limit=25).sets
    assert few["canaries"].ids == whole["canaries"].ids[:25]
    np.testing.assert_array_equal(few["canaries"].groups[CANARY], whole["canaries"].groups[CANARY][:25])
    assert few["training"].ids == whole["training"].ids[:25]


def test_a_tampered_checkpoint_stops_the_run(images: Path) -> None:
    record = _record(images)
    with pytest.raises(DataError, match="are not those of a training"):
        _gather(replace(record, canaries=record.canaries.replace("-", "+")))


def _record(images: Path) -> TrainingRecord:
    data = load_images(str(images), Catalogue.discover(), what="data")
    flipped: Canaries = flip_coins(data, 60, 0)
    return TrainingRecord(
        str(images), data.digest, len(flipped.trained_on(data)), "", 2, False, 0, canaries=str(flipped)
    )


def test_a_run_audits_the_canaries_and_says_why_it_cannot(
    images: Path, tmp_path: Path, run_once: Callable[..., FinishedRun]
) -> None:
    check = "privacy/empirical_epsilon"
    record = _train(images, tmp_path / "m.pt")
    results = run_once(model=str(tmp_path / "m.pt"), suite=check, samples=2, steps=2).results
    found = results.checks[0].outcome
    assert isinstance(found, Measured), found
    assert results.model["training"]["canaries"] == "60"  # what the coins said stays in the checkpoint
    written = [path.read_bytes() for path in (tmp_path / "run").iterdir() if path.is_file()]
    assert not any(record.canaries.encode() in text for text in written)
    epsilon = found.measurements[0]
    assert (epsilon.name, epsilon.n, epsilon.interval.sided) == ("empirical_epsilon", 60, "lower")
    _train(images, tmp_path / "plain.pt", canaries=0)
    with pytest.raises(DataError, match="needs canary images: the model was not trained with canaries; train one with"):
        run_once(model=str(tmp_path / "plain.pt"), suite=check, samples=2, steps=2, output=str(tmp_path / "other"))
