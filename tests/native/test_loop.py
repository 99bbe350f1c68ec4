"""What both trainers share: losses on paper, grids on the way, arithmetic."""

import csv

import numpy as np
import pytest
import torch
from ldm_eval_native.archive import read_archive, write_archive
from ldm_eval_native.checkpoint import load_checkpoint
from ldm_eval_native.compute import lower_precision
from ldm_eval_native.outputs import state_path
from PIL import Image

from ldm_eval.errors import ConfigError, ModelError

BESIDE = (".losses.csv", ".losses.png", ".previews", ".state.pt")


def stages(native):
    return {"model": native.train, "autoencoder": native.train_autoencoder}


@pytest.fixture(params=["model", "autoencoder"])
def stage(request, native):
    return stages(native)[request.param]


def table(path):
    return list(csv.DictReader(path.read_text().splitlines()))


def test_losses_are_written_and_a_resumed_curve_is_whole(stage, tmp_path):
    same = {"options": {"curves": True, "evaluate_every": 10, "save_every": 10}}
    stage(tmp_path / "straight.pt", steps=20, **same)
    stage(tmp_path / "resumed.pt", steps=10, **same)
    stage(tmp_path / "resumed.pt", steps=20, resume=True, **same)
    rows = table(tmp_path / "straight.losses.csv")
    assert [row["step"] for row in rows] == ["1", "10", "20"]
    assert [bool(row["holdout_loss"]) for row in rows] == [False, True, True]
    assert (tmp_path / "straight.losses.csv").read_bytes() == (tmp_path / "resumed.losses.csv").read_bytes()
    assert (tmp_path / "straight.losses.png").stat().st_size > 1000


def test_the_last_line_of_the_table_is_the_result(stage, tmp_path):
    result = stage(tmp_path / "m.safetensors", steps=7, options={"curves": True})
    last = table(tmp_path / "m.losses.csv")[-1]
    assert (last["step"], float(last["holdout_loss"])) == ("7", result.holdout_loss)


def test_two_trainings_in_one_folder_keep_their_curves_apart(stage, tmp_path):
    for name, seed in (("m.v2", 1), ("m.v3", 2)):
        stage(tmp_path / name, steps=4, seed=seed, options={"curves": True, "preview_every": 4})
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {f"{m}{e}" for m in ("m.v2", "m.v3") for e in ("", *BESIDE)}
    assert (tmp_path / "m.v2.losses.csv").read_bytes() != (tmp_path / "m.v3.losses.csv").read_bytes()


def test_a_curve_is_there_before_the_end(stage, tmp_path):
    def stop(progress):
        if progress.step >= 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stage(tmp_path / "m.pt", stop, steps=30, options={"curves": True, "save_every": 5})
    assert [row["step"] for row in table(tmp_path / "m.losses.csv")] == ["1", "10"]


def test_grids_of_samples_are_drawn_on_the_way(native, tmp_path, autoencoder_file):
    for name, more in {"pixels": {}, "latents": {"autoencoder": str(autoencoder_file), "labels": True}}.items():
        native.train(tmp_path / f"{name}.pt", options={"preview_every": 4, **more})
        grids = sorted((tmp_path / f"{name}.previews").iterdir())
        assert [grid.name for grid in grids] == ["step-000004.png"]
        picture = np.asarray(Image.open(grids[0]))
        assert picture.shape[1] > 3.5 * picture.shape[0]  # eight in a row, two rows


def test_grids_do_not_change_what_is_learned(native, tmp_path):
    native.train(tmp_path / "a.pt", options={"preview_every": 2})
    native.train(tmp_path / "b.pt", options={"preview_every": 0})
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "b.pt").read_bytes()
    assert not (tmp_path / "b.previews").exists()


def test_an_autoencoder_shows_held_out_images_above_their_reconstructions(native, tmp_path):
    native.train_autoencoder(tmp_path / "ae.pt", steps=150, options={"preview_every": 150})
    picture = np.asarray(Image.open(tmp_path / "ae.previews" / "step-000150.png")).astype(float)
    side = (picture.shape[0] - 3 * 2) // 4
    rows = [picture[i * (side + 2) : i * (side + 2) + side, :side] for i in range(4)]
    expected = native.image_set(seed=1).pixels[0, 0].astype(float)
    shown = rows[0][:: side // 8, :: side // 8]
    assert np.array_equal(shown, expected)
    for original, again in ((rows[0], rows[1]), (rows[2], rows[3])):
        assert np.abs(original - again).mean() < 30


def test_training_images_are_never_drawn(native, tmp_path):
    native.train_autoencoder(tmp_path / "ae.pt", holdout=None, holdout_ref="", options={"preview_every": 2})
    assert not (tmp_path / "ae.previews").exists()


def test_bfloat16_trains_keeps_float32_weights_and_is_recorded(stage, tmp_path):
    lowered, plain = tmp_path / "low.pt", tmp_path / "plain.pt"
    results = [stage(path, steps=40, options={"precision": p}) for path, p in ((lowered, "bfloat16"), (plain, "auto"))]
    low, full = (torch.load(path, weights_only=True) for path in (lowered, plain))
    assert low["settings"]["precision"] == "bfloat16"
    assert "precision" not in full["settings"]
    assert {tensor.dtype for tensor in low["weights"].values()} == {torch.float32}
    assert not all(torch.equal(low["weights"][name], full["weights"][name]) for name in full["weights"])
    assert results[0].loss == pytest.approx(results[1].loss, rel=0.25)
    with pytest.raises(ConfigError, match="precision: 'bfloat16' then, 'not set' now"):
        stage(lowered, steps=50, resume=True)


def test_bfloat16_resumes_bit_for_bit(stage, tmp_path):
    same = {"options": {"precision": "bfloat16"}}
    stage(tmp_path / "a.pt", steps=12, **same)
    stage(tmp_path / "b.pt", steps=6, **same)
    stage(tmp_path / "b.pt", steps=12, resume=True, **same)
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "b.pt").read_bytes()


def test_auto_means_float32_on_a_cpu_and_bfloat16_where_a_gpu_has_it(monkeypatch):
    assert not lower_precision("auto", torch.device("cpu"))
    for capability, expected in (((7, 5), False), ((8, 0), True), ((9, 0), True)):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device, found=capability: found)
        assert lower_precision("auto", torch.device("cuda")) is expected
    assert not lower_precision("float32", torch.device("cuda"))


def test_a_diverging_autoencoder_stops_with_advice(native, tmp_path):
    with pytest.raises(ModelError, match="lower --learning-rate"):
        native.train_autoencoder(tmp_path / "ae.pt", learning_rate=1e30, steps=50)
    assert not (tmp_path / "ae.pt").exists()


def test_a_diverged_training_is_not_saved(stage, tmp_path):
    with pytest.raises(ModelError, match="lower --learning-rate"):
        stage(tmp_path / "m.pt", learning_rate=1e30, steps=9, options={"save_every": 1})
    if state_path(tmp_path / "m.pt").exists():
        state = read_archive(state_path(tmp_path / "m.pt"), "ldm-eval-native-training", "a state").document
        assert np.isfinite(float(state["loss"]))


def test_states_from_before_there_were_curves_go_on(native, tmp_path):
    native.train(tmp_path / "m.pt")
    path = state_path(tmp_path / "m.pt")
    document = torch.load(path, weights_only=True)
    del document["history"]
    write_archive(path, document)
    native.train(tmp_path / "m.pt", steps=12, resume=True)
    assert load_checkpoint(tmp_path / "m.pt")[0].training.steps == 12


def test_damaged_losses_are_refused(native, tmp_path):
    native.train(tmp_path / "m.pt")
    path = state_path(tmp_path / "m.pt")
    write_archive(path, torch.load(path, weights_only=True) | {"history": [[5, 1.0, None], [2, 1.0, None]]})
    with pytest.raises(ModelError, match="losses kept"):
        native.train(tmp_path / "m.pt", steps=12, resume=True)


@pytest.mark.gpu
def test_a_gpu_trains_in_bfloat16_and_resumes_bit_for_bit(stage, tmp_path):
    same = {"device": "cuda", "options": {"save_every": 6}}
    stage(tmp_path / "a.pt", steps=12, **same)
    stage(tmp_path / "b.pt", steps=6, **same)
    stage(tmp_path / "b.pt", steps=12, resume=True, **same)
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "b.pt").read_bytes()
    assert torch.load(tmp_path / "a.pt", weights_only=True)["settings"]["precision"] == "bfloat16"
