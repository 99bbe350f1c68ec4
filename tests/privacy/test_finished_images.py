"""Checks that call no model, on finished images and through the whole run."""

import json
from pathlib import Path

import numpy as np
import pytest
from ldm_eval_privacy.phantoms import smooth_images

from ldm_eval.api import Measured, NotApplicable
from ldm_eval.evaluate import evaluate
from ldm_eval.report import sample_grid
from ldm_eval.store.withheld import withheld_samples


def saved(path, pixels, table=""):
    np.savez(path, arr_0=pixels.transpose(0, 2, 3, 1))
    if table:
        path.with_name(path.name + ".csv").write_text(table)
    return str(path)


def test_ten_finished_images_are_enough_to_look_at_the_training_set(tmp_path):
    rng = np.random.default_rng(0)
    training = smooth_images(rng, 60)
    run = evaluate(
        saved(tmp_path / "model.npz", smooth_images(rng, 10)),
        suite=["privacy/training_set", "privacy/extraction"],
        data=saved(tmp_path / "training.npz", np.concatenate([training, training[:4]])),
        holdout=saved(tmp_path / "holdout.npz", smooth_images(rng, 60)),
        threads=1,
        output=str(tmp_path / "run"),
    )
    outcomes = {record.check: record.outcome for record in run.results.checks}
    assert isinstance(outcomes["privacy/training_set"], Measured)
    assert isinstance(outcomes["privacy/extraction"], NotApplicable)  # it needs 50 samples
    found = {one.name: one for one in outcomes["privacy/training_set"].measurements}
    assert found["duplicated_share"].value == 8 / 64
    assert "blind_auc" in found


def test_nothing_of_a_training_image_is_in_what_leaves_the_run(tmp_path):
    rng = np.random.default_rng(1)
    training = smooth_images(rng, 80)
    made = np.concatenate([training[:20], smooth_images(rng, 40)])
    names = "\n".join(f"{row},{'left' if row % 2 else 'right'}" for row in range(80))
    run = evaluate(
        saved(tmp_path / "model.npz", made),
        suite=["privacy/extraction", "privacy/group_leakage"],
        data=saved(tmp_path / "training.npz", training, f"id,side\n{names}\n"),
        threads=1,
        output=str(tmp_path / "run"),
    )
    assert all(isinstance(record.outcome, Measured) for record in run.results.checks)
    private = tmp_path / "run" / "private"
    assert list(private.rglob("extracted.csv"))
    outside = [path for path in (tmp_path / "run").rglob("extracted*") if private not in path.parents]
    assert not outside
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    shares = {one["name"]: one["value"] for one in results["measurements"] if one.get("group") is None}
    assert shares["extracted_share"] == 20 / 80
    assert abs(shares["reproduction_gap"]) < 1e-12


@pytest.mark.parametrize("holdout", ["fresh", "training"])
def test_no_copy_of_a_training_image_stands_on_the_card(tmp_path: Path, holdout: str) -> None:
    training, fresh, other = (smooth_images(np.random.default_rng(seed), 60) for seed in range(3))
    made = np.concatenate([training[:10], fresh[:50]])
    folder = tmp_path / "run"
    checks = ["privacy/near_copies", "privacy/feature_copies", "privacy/extraction"]
    evaluate(
        saved(tmp_path / "made.npz", made),
        checks,
        data=saved(tmp_path / "training.npz", training),
        holdout=saved(tmp_path / "holdout.npz", {"fresh": other, "training": training}[holdout]),
        threads=1,
        output=str(folder),
    )
    for check in checks:  # each says so, also one that is invalid without a control
        listed = json.loads((folder / "private" / check.replace("/", "-") / "withheld_samples.json").read_text())
        assert set(range(10)) <= {*listed["samples"]}
    shown = np.array(np.broadcast_to(made, (60, 3, *made.shape[2:])))
    shown[list(withheld_samples(folder / "private") or ())] = 160
    assert (folder / "figures" / "samples.png").read_bytes() == sample_grid(shown)
