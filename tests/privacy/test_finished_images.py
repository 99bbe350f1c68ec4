"""Checks that call no model, on finished images and through the whole run."""

import json

import numpy as np
from ldm_eval_privacy.phantoms import smooth_images

from ldm_eval.api import Measured, NotApplicable
from ldm_eval.evaluate import evaluate


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
