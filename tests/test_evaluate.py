"""The whole way, as a user goes it: a real checkpoint, real images, every suite, the gate and the card."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ldm_eval.api import Crashed, Measured, NotApplicable
from ldm_eval.errors import ConfigError, DataError, ModelError, PolicyError
from ldm_eval.evaluate import Evaluation, evaluate, gate_folder, render_folder, worst_exit_code
from ldm_eval.hooks.catalogue import Catalogue
from ldm_eval.run.data import load_images

POLICY = """
schema_version = 1
name = "test"
[[rules]]
id = "no-exact-copies"
check = "privacy/near_copies"
measurement = "exact_copy_rate"
at_most = 0.05
"""


@pytest.fixture(scope="module")
def portraits(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """240 training and 240 held-out portraits of the demo as npz files with their labels beside them."""
    folder = tmp_path_factory.mktemp("portraits")
    paths = {}
    for split in ("train", "holdout"):
        images = load_images(f"portraits:{split}", Catalogue.discover(), what="test")
        # evenly from each group, so that the probe has its 20 labelled images of each class
        tones = images.groups["skin tone"]
        rows = np.concatenate([np.flatnonzero(tones == tone)[:80] for tone in ("light", "medium", "deep")])
        paths[split] = folder / f"{split}.npz"
        np.savez(paths[split], arr_0=images.pixels[rows].transpose(0, 2, 3, 1))
        table = "\n".join(f"{i},{tone}" for i, tone in enumerate(tones[rows]))
        (folder / f"{split}.npz.csv").write_text(f"id,skin tone\n{table}\n")
    return paths


@pytest.fixture(scope="module")
def demo(portraits: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    folder = tmp_path_factory.mktemp("demo")
    policy = folder / "policy.toml"
    policy.write_text(POLICY)
    return evaluate(
        "demo",
        data=str(portraits["train"]),
        holdout=str(portraits["holdout"]),
        samples=120,
        threads=1,
        policy=str(policy),
        output=str(folder / "run"),
    )


NOT_OF_THE_DEMO = {
    "privacy/caption_likelihood": "takes no text",
    "privacy/prompt_screen": "takes no text",
    "privacy/empirical_epsilon": "--canaries",
    "quality/clip_score": "--extractor",
    "quality/frechet_to_statistics": "--reference-statistics",
    "quality/per_class": "class",
}
"""What cannot be asked of an unconditional model without canaries, and a word of what each of them says."""


@pytest.mark.slow
def test_every_check_of_every_suite_measures_the_demo_or_says_what_it_lacks(demo: Evaluation) -> None:
    outcomes = {record.check: record.outcome for record in demo.results.checks}
    assert {check.partition("/")[0] for check in outcomes} == {"quality", "privacy", "fairness", "misuse"}
    others = {check: outcome for check, outcome in outcomes.items() if not isinstance(outcome, Measured)}
    others.pop("fairness/amplification")  # these groups are even, so there is no skew to exaggerate
    for check in ("privacy/group_leakage", "fairness/group_quality"):  # with few samples there are too few of a group
        others.pop(check, None)
    assert set(others) == set(NOT_OF_THE_DEMO)
    for check, word in NOT_OF_THE_DEMO.items():
        found = others[check]
        assert isinstance(found, NotApplicable)
        assert word in found.reason, check


@pytest.mark.slow
def test_every_measurement_has_an_interval_its_n_an_estimator_and_a_signature(demo: Evaluation) -> None:
    document = json.loads((demo.folder / "results.json").read_text())
    keys = {"check", "name", "value", "low", "high", "level", "sided", "estimator", "n", "unit", "direction", "group"}
    assert document["measurements"]
    for item in document["measurements"]:
        assert keys | {"signature"} <= set(item)
        assert item["low"] <= item["high"]
        assert item["n"] >= 1
        assert item["estimator"]
        assert {"sampler", "steps", "guidance", "seed_rule", "quantisation", "dtype", "n"} <= set(item["signature"])


@pytest.mark.slow
def test_the_folder_holds_results_card_figures_verdict_and_samples(demo: Evaluation) -> None:
    for name in ("results.json", "MODEL_CARD.md", "gate.json", "figures/samples.png", "samples/manifest.json"):
        assert (demo.folder / name).is_file(), name
    assert not (demo.folder / "work").exists()
    card = demo.card.read_text()
    assert card.startswith("---\n")
    for picture in (demo.folder / "figures").glob("*.png"):
        assert f"figures/{picture.name}" in card


@pytest.mark.slow
def test_the_policy_decided_and_was_recorded_before_sampling(demo: Evaluation) -> None:
    assert demo.verdict is not None
    assert demo.verdict.status == "pass"
    assert demo.exit_code == 0
    assert demo.results.policy_digest == demo.verdict.policy_digest
    assert not demo.verdict.warnings


@pytest.mark.slow
def test_a_stricter_policy_judges_again_without_a_model(demo: Evaluation, tmp_path: Path) -> None:
    strict = tmp_path / "strict.toml"
    strict.write_text(POLICY.replace("0.05", "0.0001"))
    before = (demo.folder / "results.json").read_bytes()
    again = gate_folder(demo.folder, strict)
    assert again.verdict is not None
    assert again.verdict.status == "inconclusive"
    assert again.exit_code == 3
    assert "would settle it" in again.verdict.rules[0].reason
    assert (demo.folder / "results.json").read_bytes() == before
    assert render_folder(demo.folder).card.read_text() == again.card.read_text()


@pytest.mark.slow
def test_results_are_a_data_frame_too(demo: Evaluation) -> None:
    frame = demo.frame()
    assert len(frame) == len(demo.results.measurements)
    assert {"check", "name", "value", "low", "high", "n"} <= set(frame.columns)


@pytest.mark.slow
def test_a_model_that_copies_is_caught_and_one_that_learned_the_law_is_not_accused(
    portraits: dict[str, Path], tmp_path: Path
) -> None:
    """The copier repeats a fifth of the training images; the memoriser is the optimal denoiser of all of them."""
    train, holdout = portraits["train"], portraits["holdout"]
    common = {"data": str(train), "holdout": str(holdout), "suite": "privacy", "threads": 1, "samples": 150}

    def found(model: str, name: str) -> dict[str, float]:
        done = evaluate(model, output=str(tmp_path / name), steps=0, **common)  # type: ignore[arg-type]
        return {m.name: m.interval.low for m in done.results.measurements}

    copier = found(f"phantom:copier?data={train}&rate=0.2&other={holdout}", "copier")
    assert copier["exact_copy_rate"] > 0.1
    assert copier["near_copy_excess"] > 0
    memoriser = found(f"phantom:memoriser?data={train}", "memoriser")
    assert memoriser["membership_auc"] > 0.9
    assert memoriser["exact_copy_rate"] > 0.9
    honest = found("phantom:gaussian?shape=3x32x32&mean=0&std=0.3", "honest")
    assert honest["membership_auc"] <= 0.5
    assert honest["exact_copy_rate"] == 0
    assert honest["near_copy_excess"] <= 0


def test_one_image_is_not_enough_and_the_error_says_what_each_check_needs(tmp_path: Path) -> None:
    np.savez(tmp_path / "one.npz", arr_0=np.zeros((1, 8, 8, 1), dtype=np.uint8))
    with pytest.raises(DataError, match="needs at least 50 samples; this run has 1"):
        evaluate(str(tmp_path / "one.npz"), output=str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_finished_images_need_no_model_and_white_box_checks_say_why_they_did_not_run(
    portraits: dict[str, Path], tmp_path: Path
) -> None:
    done = evaluate(
        str(portraits["holdout"]),
        suite="privacy",
        data=str(portraits["train"]),
        holdout=str(portraits["holdout"]),
        threads=1,
        output=str(tmp_path / "out"),
    )
    outcomes = {record.check: record.outcome for record in done.results.checks}
    membership = outcomes["privacy/membership_loss"]
    assert isinstance(membership, NotApplicable)
    assert "does not show" in membership.reason
    assert not isinstance(outcomes["privacy/near_copies"], Crashed)
    assert done.exit_code == 0


def test_a_policy_that_cannot_be_read_is_known_before_anything_is_sampled(tmp_path: Path) -> None:
    (tmp_path / "policy.toml").write_text("schema_version = 1\nname = 'x'\nrulez = []\n")
    with pytest.raises(PolicyError, match="rulez"):
        evaluate("demo", policy=str(tmp_path / "policy.toml"), output=str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_folder_without_results_cannot_be_judged(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no results\.json"):
        gate_folder(tmp_path, Path("demo"))


def test_evaluate_is_there_under_the_name_of_the_package() -> None:
    import ldm_eval

    assert ldm_eval.evaluate is evaluate
    assert ldm_eval.__version__


def test_the_worst_exit_code_wins() -> None:
    assert worst_exit_code([0, 0]) == 0
    assert worst_exit_code([3, 0]) == 3
    assert worst_exit_code([3, 1]) == 1
    assert worst_exit_code([1, 4]) == 4


def test_none_is_the_same_as_leaving_a_setting_out() -> None:
    with pytest.raises(ModelError, match=r"nowhere\.pt"):
        evaluate("nowhere.pt", policy=None, output=None, samples=None)
