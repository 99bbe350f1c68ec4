import csv
import math
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ldm_eval_native.history import LossEntry, LossHistory, write_curves
from PIL import Image

from ldm_eval.errors import ModelError, StoreError


def _overfitted() -> LossHistory:
    history = LossHistory.empty()
    for step in range(10, 2001, 10):
        holdout = 0.08 + 0.1 * abs(step / 1000 - 0.6) if step % 100 == 0 else None
        history = history.add(step, 0.05 + math.exp(-step / 100), holdout)
    return history


def _picture(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"), dtype=int)


def test_entries_are_kept_in_order_and_the_old_history_is_untouched():
    first = LossHistory.empty().add(10, 0.5)
    second = first.add(20, 0.4, 0.45)
    assert first.entries == (LossEntry(10, 0.5),)
    assert second.entries == (LossEntry(10, 0.5), LossEntry(20, 0.4, 0.45))


def test_a_resumed_training_replaces_what_it_repeats():
    history = LossHistory.empty().add(10, 0.5).add(20, 0.4).add(30, 0.3)
    assert [e.step for e in history.add(20, 0.41).entries] == [10, 20]
    assert history.add(20, 0.41).entries[-1].loss == 0.41
    assert [e.step for e in history.add(5, 0.9).entries] == [5]


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 10**9),
            st.floats(allow_nan=False),
            st.none() | st.floats(allow_nan=False),
        ),
        max_size=20,
    )
)
def test_a_history_survives_being_stored(rows):
    history = LossHistory.empty()
    for row in rows:
        history = history.add(*row)
    assert LossHistory.from_state(history.state()) == history


@pytest.mark.parametrize("state", [None, 3, [1], [[1, 2.0]], [["x", 1.0, None]], [[2, 1.0, None], [1, 1.0, None]]])
def test_a_damaged_state_is_refused(state):
    with pytest.raises(ModelError, match="Train afresh"):
        LossHistory.from_state(state)


def test_a_long_training_costs_little():
    started = time.perf_counter()
    history = LossHistory.empty()
    for step in range(10_000):
        history = history.add(step, 0.1)
    assert len(history.entries) == 10_000
    assert time.perf_counter() - started < 5


def test_curves_are_a_table_and_a_picture_with_stable_bytes(tmp_path):
    history = _overfitted()
    for name in ("model.pt", "other.safetensors"):
        write_curves(history, tmp_path / name)
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == ["model.losses.csv", "model.losses.png", "other.losses.csv", "other.losses.png"]
    assert (tmp_path / "model.losses.png").read_bytes() == (tmp_path / "other.losses.png").read_bytes()
    rows = list(csv.DictReader((tmp_path / "model.losses.csv").read_text().splitlines()))
    assert list(rows[0]) == ["step", "loss", "holdout_loss"]
    assert [float(row["loss"]) for row in rows] == [e.loss for e in history.entries]
    assert [row["holdout_loss"] for row in rows[:2]] == ["", ""]


def test_the_held_out_curve_is_visible(tmp_path):
    write_curves(_overfitted(), tmp_path / "with.pt")
    write_curves(LossHistory(tuple(LossEntry(e.step, e.loss) for e in _overfitted().entries)), tmp_path / "without.pt")
    orange = [
        int((np.abs(_picture(tmp_path / f"{name}.losses.png") - (213, 94, 0)).sum(-1) < 30).sum())
        for name in ("with", "without")
    ]
    assert orange[0] > 500
    assert orange[1] == 0


@pytest.mark.parametrize("losses", [[(1, 0.5, None)], [(1, 0.0, 0.0), (2, 0.0, 0.1)], [(1, math.nan, math.inf)]])
def test_any_history_can_be_drawn(losses, tmp_path):
    history = LossHistory.empty()
    for row in losses:
        history = history.add(*row)
    write_curves(history, tmp_path / "model.pt")
    assert _picture(tmp_path / "model.losses.png").shape == (528, 864, 3)


def test_nothing_is_written_for_an_empty_history(tmp_path):
    write_curves(LossHistory.empty(), tmp_path / "model.pt")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_a_store_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="Could not write"):
        write_curves(_overfitted(), tmp_path / "file" / "model.pt")


def test_matplotlib_is_loaded_only_to_draw():
    code = "import sys, ldm_eval_native.history; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
