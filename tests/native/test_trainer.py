from dataclasses import replace

import numpy as np
import pytest
import torch
from ldm_eval_native.backend import load_model
from ldm_eval_native.batches import PixelSource, TrainingBatches, evaluation_batch
from ldm_eval_native.checkpoint import load_checkpoint
from ldm_eval_native.outputs import state_path

from ldm_eval.errors import ConfigError, DataError, ModelError


class Interrupted(Exception):  # noqa: N818
    """Stands for Ctrl-C."""


def stop_at(step):
    def report(progress):
        if progress.step >= step:
            raise Interrupted

    return report


def test_training_lowers_the_loss_on_seen_and_unseen_images(native, tmp_path):
    news = []
    result = native.train(tmp_path / "m.pt", news.append, steps=150, options={"evaluate_every": 50})
    assert news[0].step == 1
    assert news[0].loss > 0.9  # a net that starts at zero predicts no noise at all
    assert result.loss < 0.6
    assert result.holdout_loss < 0.6
    assert news[-1].loss < 0.6
    assert (news[-1].step, news[-1].steps) == (150, 150)
    assert [n.holdout_loss is not None for n in news if n.step in (40, 50, 150)] == [False, True, True]
    assert result.identity.sha256 == load_checkpoint(tmp_path / "m.pt")[1]


@pytest.mark.parametrize("flip", [False, True])
def test_a_resumed_training_equals_a_straight_one_bit_for_bit(native, tmp_path, flip):
    straight, resumed = tmp_path / "straight.pt", tmp_path / "resumed.pt"
    same = {"horizontal_flip": flip, "options": {"labels": True, "save_every": 10}}
    native.train(straight, steps=20, **same)
    native.train(resumed, steps=10, **same)
    native.train(resumed, steps=20, resume=True, **same)
    assert straight.read_bytes() == resumed.read_bytes()
    assert state_path(straight).read_bytes() == state_path(resumed).read_bytes()


def test_an_interrupted_training_goes_on_from_its_last_state(native, tmp_path):
    straight, broken = tmp_path / "straight.pt", tmp_path / "broken.pt"
    options = {"save_every": 7}
    native.train(straight, steps=30, options=options)
    with pytest.raises(Interrupted):
        native.train(broken, stop_at(20), steps=30, options=options)
    assert not broken.exists()
    seen = []
    native.train(broken, seen.append, steps=30, resume=True, options=options)
    assert seen[0].step == 20  # 14 steps were on disk; news comes every ten
    assert straight.read_bytes() == broken.read_bytes()


def test_resuming_without_a_state_starts_afresh(native, tmp_path):
    native.train(tmp_path / "a.pt")
    native.train(tmp_path / "b.pt", resume=True)
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "b.pt").read_bytes()


def test_a_finished_training_resumed_does_nothing(native, tmp_path):
    native.train(tmp_path / "m.pt")
    before = (tmp_path / "m.pt").read_bytes()
    news = []
    native.train(tmp_path / "m.pt", news.append, resume=True)
    assert news == []
    assert (tmp_path / "m.pt").read_bytes() == before


def test_without_resume_an_old_state_is_ignored(native, tmp_path):
    native.train(tmp_path / "m.pt", seed=1)
    native.train(tmp_path / "m.pt", seed=2)
    native.train(tmp_path / "other.pt", seed=2)
    assert (tmp_path / "m.pt").read_bytes() == (tmp_path / "other.pt").read_bytes()


def test_a_state_with_other_settings_is_refused_and_the_differences_listed(native, tmp_path):
    native.train(tmp_path / "m.pt")
    before = (tmp_path / "m.pt").read_bytes()
    with pytest.raises(ConfigError) as caught:
        native.train(tmp_path / "m.pt", resume=True, batch_size=8, seed=3, options={"channels": 12}, steps=12)
    message = str(caught.value)
    assert "batch size: 16 then, 8 now" in message
    assert "seed: 0 then, 3 now" in message
    assert "channels: 8 then, 12 now" in message
    assert "learning rate" not in message
    assert (tmp_path / "m.pt").read_bytes() == before


def test_other_data_is_another_training(native, tmp_path):
    native.train(tmp_path / "m.pt")
    with pytest.raises(ConfigError, match="data digest"):
        native.train(tmp_path / "m.pt", resume=True, data=native.image_set(seed=9), steps=12)


def test_fewer_steps_than_already_done_are_refused(native, tmp_path):
    native.train(tmp_path / "m.pt", steps=6)
    with pytest.raises(ConfigError, match="already done 6"):
        native.train(tmp_path / "m.pt", steps=3, resume=True)


def test_a_damaged_state_is_refused(native, tmp_path):
    native.train(tmp_path / "m.pt")
    state = state_path(tmp_path / "m.pt")
    state.write_bytes(state.read_bytes()[:1000])
    with pytest.raises(ModelError, match="cut off"):
        native.train(tmp_path / "m.pt", resume=True, steps=12)


@pytest.mark.parametrize(
    "changes",
    [
        {"step": -5},
        {"settings": [1]},
        {"average": {}},
        {"average": {"stem.weight": torch.zeros(3)}},
        {"loss": 0.5},
        {"optimiser": {}},
    ],
    ids=str,
)
def test_a_state_with_wrong_entries_is_refused(native, tmp_path, changes):
    native.train(tmp_path / "m.pt")
    state = state_path(tmp_path / "m.pt")
    torch.save(torch.load(state, weights_only=True) | changes, state)
    with pytest.raises(ModelError, match="is damaged"):
        native.train(tmp_path / "m.pt", resume=True, steps=12)


def test_the_seed_decides_and_the_global_generator_does_not(native, tmp_path):
    before = torch.random.get_rng_state()
    native.train(tmp_path / "a.pt")
    assert torch.equal(before, torch.random.get_rng_state())
    torch.rand(17)
    native.train(tmp_path / "b.pt")
    native.train(tmp_path / "c.pt", seed=1)
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "b.pt").read_bytes()
    assert (tmp_path / "a.pt").read_bytes() != (tmp_path / "c.pt").read_bytes()


def test_flips_are_recorded_and_shown(native, tmp_path):
    native.train(tmp_path / "m.pt", horizontal_flip=True)
    assert load_checkpoint(tmp_path / "m.pt")[0].training.horizontal_flip
    data = native.image_set()
    plain, flipped = (
        TrainingBatches(PixelSource(data), batch_size=64, timesteps=50, seed=0, horizontal_flip=flip).at(0).images
        for flip in (False, True)
    )
    mirrored = (flipped != plain).flatten(1).any(1)
    assert 16 < int(mirrored.sum()) < 48
    assert torch.equal(flipped[mirrored], plain[mirrored].flip(-1))


def test_every_epoch_shows_every_image_once(native):
    data = native.image_set(n=10)
    data.pixels[:] = np.arange(10, dtype=np.uint8)[:, None, None, None]
    batches = TrainingBatches(PixelSource(data), batch_size=4, timesteps=50, seed=0)
    seen = torch.cat([batches.at(step).images[:, 0, 0, 0] for step in range(5)])
    values = ((seen + 1) * 127.5).round().int().tolist()
    assert sorted(values[:10]) == sorted(values[10:]) == list(range(10))
    assert values[:10] != values[10:]


def test_evaluation_shares_noise_between_sets_and_covers_the_schedule(native):
    a, b = (
        evaluation_batch(PixelSource(native.image_set(seed=s)), timesteps=50, seed=0, labels=False, at_most=64)
        for s in (0, 1)
    )
    assert torch.equal(a.noise, b.noise)
    assert torch.equal(a.t, b.t)
    assert a.t.min() == 0
    assert a.t.max() == 49


def test_colour_images_of_odd_size_train(native, tmp_path):
    data = native.image_set(n=5, side=9, channels=3)
    native.train(tmp_path / "m.pt", data=data, holdout=None, holdout_ref="")
    model = load_model(tmp_path / "m.pt", "cpu")
    assert model.image_shape == (3, 9, 9)
    assert model.identity.training.holdout == ""


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"steps": 0}, ConfigError, "--steps"),
        ({"batch_size": 0}, ConfigError, "--batch-size"),
        ({"learning_rate": float("nan")}, ConfigError, "--learning-rate"),
        ({"seed": -1}, ConfigError, "seed"),
        ({"device": "cuda:77"}, ConfigError, "CUDA"),
        ({"options": {"schedule": "linaer"}}, ConfigError, "Did you mean 'linear'"),
        ({"options": {"sampler": "dddim"}}, ConfigError, "Did you mean 'ddim'"),
        ({"options": {"channels": 10}}, ConfigError, "multiple of 4"),
    ],
)
def test_bad_requests_are_refused_before_anything_is_written(native, tmp_path, changes, error, message):
    with pytest.raises(error, match=message):
        native.train(tmp_path / "m.pt", **changes)
    assert list(tmp_path.iterdir()) == []


def test_data_that_does_not_fit_is_refused(native, tmp_path):
    with pytest.raises(DataError, match="shape"):
        native.train(tmp_path / "m.pt", holdout=native.image_set(side=9))
    with pytest.raises(DataError, match="no images"):
        native.train(tmp_path / "m.pt", data=native.image_set(n=0))
    with pytest.raises(DataError, match="labels"):
        native.train(tmp_path / "m.pt", data=native.image_set(labels=False), options={"labels": True})
    negative = replace(native.image_set(), labels=np.full(64, -1))
    with pytest.raises(DataError, match="-1"):
        native.train(tmp_path / "m.pt", data=negative, options={"labels": True})
    with pytest.raises(ConfigError, match="folder"):
        native.train(tmp_path)


def test_images_that_are_trained_on_hold_nothing_out(native, tmp_path):
    with pytest.raises(DataError, match="nothing would be held out"):
        native.train(tmp_path / "m.pt", holdout=native.image_set())
    with pytest.raises(DataError, match="nothing would be held out"):
        native.train_autoencoder(tmp_path / "ae.pt", holdout=native.image_set())


def test_images_of_two_depths_are_not_compared(native, tmp_path):
    wide = native.image_set(seed=1)
    wide = replace(wide, pixels=wide.pixels.astype(np.uint16) * 257)
    with pytest.raises(DataError, match="8 bits per channel, those of 'squares:holdout' 16"):
        native.train(tmp_path / "m.pt", holdout=wide)


def test_a_class_that_only_the_held_out_images_have_is_refused(native, tmp_path):
    other = native.image_set(seed=1)
    other.labels[0] = 7
    with pytest.raises(DataError, match="label 7, which no training image has"):
        native.train(tmp_path / "m.pt", holdout=other, options={"labels": True})
    native.train(tmp_path / "m.pt", holdout=other)  # without labels it does not matter


@pytest.mark.parametrize("labels", [np.arange(64) % 3 + 1, np.arange(64) % 2 * 5], ids=["from one", "with a gap"])
def test_a_class_without_images_is_refused(native, tmp_path, labels):
    data = replace(native.image_set(), labels=labels)
    with pytest.raises(DataError, match=r"without gaps.* from [01] to [35]"):
        native.train(tmp_path / "m.pt", data=data, holdout=None, options={"labels": True})


def test_other_labels_of_the_same_images_are_another_training(native, tmp_path):
    native.train(tmp_path / "m.pt", options={"labels": True})
    other = native.image_set()
    other.labels[:] = other.labels[::-1].copy()
    with pytest.raises(ConfigError, match="labels digest"):
        native.train(tmp_path / "m.pt", resume=True, steps=12, data=other, options={"labels": True})
    native.train(tmp_path / "m.pt", resume=True, steps=12, options={"labels": True})


def test_a_diverging_training_stops_with_advice(native, tmp_path):
    with pytest.raises(ModelError, match="lower --learning-rate"):
        native.train(tmp_path / "m.pt", learning_rate=1e30, steps=50)
    assert not (tmp_path / "m.pt").exists()
