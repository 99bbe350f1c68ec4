"""``ldm-eval sample``: what lies in the folder is what the last command asked for."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ldm_eval.errors import ConfigError
from ldm_eval.hooks.catalogue import Catalogue
from ldm_eval.run.config import RunConfig
from ldm_eval.run.progress import SilentProgress
from ldm_eval.run.sampling import sample_to_folder

Sample = Callable[..., Path]


@pytest.fixture
def sample(configure: Callable[..., RunConfig]) -> Sample:
    def go(image_format: str = "png", **settings: object) -> Path:
        config = configure(**{"samples": 3, **settings})
        return sample_to_folder(config, Catalogue.discover(), SilentProgress(), image_format=image_format)

    return go


def test_images_and_their_table_are_written(sample: Sample) -> None:
    names = sorted(path.name for path in sample().iterdir())
    assert names == ["000000.png", "000001.png", "000002.png", "run.json", "samples.csv"]


def test_starting_over_leaves_no_image_of_before(sample: Sample) -> None:
    before = (sample() / "000000.png").read_bytes()
    folder = sample(samples=2, seed=1, resume=False)
    assert sorted(path.name for path in folder.glob("*.png")) == ["000000.png", "000001.png"]
    assert (folder / "000000.png").read_bytes() != before
    assert len((folder / "samples.csv").read_text().splitlines()) == 3


def test_another_format_is_not_taken_for_done(sample: Sample) -> None:
    sample()
    with pytest.raises(ConfigError, match="format: was 'png', is now 'npz'"):
        sample("npz")
    assert sorted(path.name for path in sample("npz", resume=False).iterdir()) == [
        "run.json",
        "samples.csv",
        "samples.npz",
    ]


def test_more_samples_than_finished_images_is_refused_before_anything_is_written(
    sample: Sample, real_images: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="40 finished images"):
        sample(model=str(real_images), samples=41, steps=0)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("version", ["ldm_eval.run.sampling.installed_version", "ldm_eval.run.describe.version"])
def test_images_of_two_versions_do_not_meet_in_one_folder(
    sample: Sample, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    sample()
    monkeypatch.setattr(version, lambda *_: "99.0")
    with pytest.raises(ConfigError, match=r"(?s)is now '99\.0'"):
        sample()


def test_the_plugin_that_loads_the_model_is_recorded(sample: Sample) -> None:
    assert set(json.loads((sample() / "run.json").read_text())["plugins"]) == {"phantoms"}
