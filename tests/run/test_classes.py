"""Which class each sample shows: a function of (run seed, i) and the policy, recorded wherever samples are."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import bdtr, chdtrc

from ldm_eval.api import ModelIdentity, SamplingSettings
from ldm_eval.diffusion.randomness import sample_seed
from ldm_eval.errors import ConfigError
from ldm_eval.hooks.catalogue import Catalogue
from ldm_eval.run.classes import choose_labels
from ldm_eval.run.config import RunConfig, resolve_config
from ldm_eval.run.pipeline import FinishedRun
from ldm_eval.run.progress import SilentProgress
from ldm_eval.run.sampling import sample_to_folder

Run = Callable[..., FinishedRun]
PLAIN = SamplingSettings("ddim", 5)
SHARES = np.repeat([0, 1, 4], [70, 20, 10]).astype(np.int64)
CLASSES = {"model": "latent:classes", "plugin": "latent_plugin", "steps": 0, "suite": "latent/levels"}


def model(classes: int = 5) -> ModelIdentity:
    return ModelIdentity("m", "native", "0" * 64, "", classes=classes)


def labels(policy: str, count: int = 100, seed: int = 0, **given: object) -> tuple[int, ...]:
    found = choose_labels(policy, count, seed, model(), PLAIN, training_labels=SHARES, **given)  # type: ignore[arg-type]
    assert found is not None
    return found


@settings(deadline=None)
@given(
    st.sampled_from(["balanced", "drawn", "training", "0,3,1", "2"]),
    st.integers(1, 300),
    st.integers(1, 300),
    st.integers(0, 10),
)
def test_more_samples_change_no_earlier_label(policy: str, few: int, many: int, seed: int) -> None:
    few, many = sorted((few, many))
    assert labels(policy, many, seed)[:few] == labels(policy, few, seed)


def test_balanced_and_listed_classes_come_in_turn() -> None:
    assert labels("balanced", 7) == (0, 1, 2, 3, 4, 0, 1)
    assert labels("0, 3,4", 5) == (0, 3, 4, 0, 3)
    assert labels("2", 3) == (2, 2, 2)


def test_drawn_classes_are_equally_likely_and_follow_the_seed() -> None:
    counts = np.bincount(labels("drawn", 5000), minlength=5)
    assert chdtrc(4, ((counts - 1000) ** 2 / 1000).sum()) > 1e-3
    assert labels("drawn", seed=1) != labels("drawn", seed=2)


def test_training_classes_have_the_shares_of_the_training_images() -> None:
    counts = Counter(labels("training", 4000))
    assert set(counts) == {0, 1, 4}
    for label, share in ((0, 0.7), (1, 0.2), (4, 0.1)):
        assert 1e-4 < bdtr(counts[label], 4000, share) < 1 - 1e-4


def test_the_class_of_a_sample_says_nothing_of_its_noise() -> None:
    """Were both drawn from one seed, a class would always see the same part of the noises."""
    seeds = [sample_seed(0, i) for i in range(2000)]
    same = np.mean(np.array(labels("drawn", 2000)) == [seed % 5 for seed in seeds])
    assert 0.15 < same < 0.25
    ordered = np.sort(SHARES)
    same = np.mean(np.array(labels("training", 2000)) == [ordered[seed * 100 >> 63] for seed in seeds])
    assert 0.48 < same < 0.60  # .7^2 + .2^2 + .1^2 = .54


def test_the_order_of_the_training_images_does_not_matter() -> None:
    shuffled = np.random.default_rng(0).permutation(SHARES)
    assert choose_labels("training", 50, 0, model(), PLAIN, shuffled) == labels("training", 50)


def test_no_policy_leaves_the_model_its_default() -> None:
    assert choose_labels("", 5, 0, model(), PLAIN) is None
    assert choose_labels("", 5, 0, model(0), PLAIN) is None


@pytest.mark.parametrize(
    ("policy", "classes", "known", "message"),
    [
        ("balanced", 0, SHARES, "'m' has no classes to choose from; leave --classes out"),
        ("training", 5, None, "have no class labels, or are not there. Name labelled ones with --data"),
        ("training", 3, SHARES, "have the label 4, and 'm' knows the classes 0 .. 2"),
        ("0,5", 5, SHARES, "knows the classes 0 .. 4; found 5"),
        ("balancd", 5, SHARES, "Did you mean 'balanced'"),
        ("0,,1", 5, SHARES, "neither a policy nor numbers"),
        ("-1", 5, SHARES, "neither a policy nor numbers"),
    ],
)
def test_classes_that_cannot_be_followed_are_refused(
    policy: str, classes: int, known: np.ndarray | None, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        choose_labels(policy, 10, 0, model(classes), PLAIN, known)


def test_guidance_without_a_class_is_refused_and_the_option_is_named() -> None:
    guided = SamplingSettings("ddim", 5, guidance=3.0)
    with pytest.raises(ConfigError, match=r"--guidance 3 .* knows 5 classes; say which with --classes"):
        choose_labels("", 10, 0, model(), guided)
    assert choose_labels("balanced", 2, 0, model(), guided) == (0, 1)


def test_classes_can_be_a_list_in_the_file(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text("classes = [0, 3]\n")
    assert resolve_config({}, {}, file).config.classes == "0,3"


def test_a_run_samples_the_classes_and_says_so(run_once: Run) -> None:
    done = run_once(**CLASSES, classes="balanced", samples=10)
    found = {measurement.name: measurement for measurement in done.results.measurements}
    assert found["level"].value == 2.0  # a sample of class k has level k: the mean of 0 .. 4
    assert found["labelled"].value == 1.0
    assert found["level"].signature["classes"] == "balanced"
    assert done.results.run["classes"] == "balanced"
    assert "--classes balanced" in done.results.reproduce
    manifest = json.loads((done.folder / "samples" / "manifest.json").read_text())
    assert [row["label"] for row in manifest["samples"]] == [0, 1, 2, 3, 4] * 2
    with pytest.raises(ConfigError, match=r"(?s)class_labels_digest: was .*classes: was 'balanced', is now 'drawn'"):
        run_once(**CLASSES, classes="drawn", samples=10)


def test_a_run_without_classes_says_nothing_of_them(run_once: Run) -> None:
    done = run_once(**CLASSES, samples=10)
    assert "class" not in (done.folder / "samples" / "manifest.json").read_text()
    assert "classes" not in done.results.run
    assert "classes" not in json.loads((done.folder / "run.json").read_text())["settings"]
    assert all("classes" not in measurement.signature for measurement in done.results.measurements)


def test_guidance_without_classes_stops_a_run_before_it_begins(run_once: Run, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--classes"):
        run_once(**CLASSES, guidance=2.0)
    with pytest.raises(ConfigError, match="leave --classes out"):
        run_once(classes="balanced")
    assert not (tmp_path / "run").exists()


def test_training_shares_are_read_from_the_labels_of_the_data(
    run_once: Run, configure: Callable[..., RunConfig], real_images: Path, tmp_path: Path
) -> None:
    rows = [f"{number},{4 if number < 10 else 1}" for number in range(40)]
    real_images.with_suffix(".csv").write_text("\n".join(["id,label", *rows]))
    given = {**CLASSES, "classes": "training", "data": str(real_images), "samples": 30}
    config = configure(**given, output=str(tmp_path / "images"))
    folder = sample_to_folder(config, Catalogue.discover((), config.plugin), SilentProgress(), image_format="npz")
    with (folder / "samples.csv").open() as stream:
        written = [int(row["label"]) for row in csv.DictReader(stream)]
    assert set(written) == {1, 4}
    done = run_once(**given)
    manifest = json.loads((done.folder / "samples" / "manifest.json").read_text())
    assert [row["label"] for row in manifest["samples"]] == written
