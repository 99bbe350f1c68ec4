from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

from ldm_eval.api import Figure, Measured, Series
from ldm_eval.errors import EvidenceError
from ldm_eval.report.figures import draw_figure, figure_files, sample_grid
from ldm_eval.store.results import CheckRecord, Results

LINE = Figure("f", "lines", "Title", "alt", "x", "y", (Series("s", (1, 2, 3), (1.0, 4.0, 9.0)),))


def opened(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))


def test_every_kind_of_figure_is_drawn_at_card_width_and_the_same_twice(results: Results) -> None:
    files = figure_files(results)
    assert {file.figure.kind for file in files} == {"intervals", "lines", "bars", "histogram"}
    for file in files:
        content = draw_figure(file.figure)
        assert content == draw_figure(file.figure)
        assert opened(content).size == (864, 480)
        assert not opened(content).info.keys() & {"Software", "Creation Time", "date:create"}


def test_the_users_matplotlib_settings_neither_change_a_figure_nor_are_changed() -> None:
    expected = draw_figure(LINE)
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "red"}):
        assert draw_figure(LINE) == expected
        assert mpl.rcParams["font.size"] == 30


def test_pyplot_is_never_imported() -> None:
    program = (
        "import sys; from ldm_eval.api import Figure, Series; from ldm_eval.report.figures import draw_figure\n"
        "draw_figure(Figure('f', 'lines', 't', 'a', 'x', 'y', (Series('s', (1, 2), (1.0, 2.0)),)))\n"
        "raise SystemExit('matplotlib.pyplot' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.parametrize(
    "figure",
    [
        replace(LINE, title="$unclosed ${x", x_label="漢字 \x1b[0m", lines={"a|b $": 2.0}),
        replace(LINE, log_x=True, log_y=True),
        replace(LINE, log_y=True, series=(Series("s", (1, 2), (0.0, -1.0)),)),
        replace(LINE, series=tuple(Series(f"s{i}", (1, 2), (i, i + 1.0)) for i in range(12))),
        replace(LINE, kind="intervals", series=(Series("s", ("a", "b"), (1.0, 2.0), (1.5, 1.0), (1.8, 3.0)),)),
        replace(LINE, kind="bars", series=(Series("s", ("a" * 90, "b"), (1.0, 2.0), (0.5, 1.0)),)),
        replace(LINE, kind="bars", series=(Series("s", ("", "b"), (1.0, 2.0)), Series("t", ("b", "c"), (1.0, 2.0)))),
        replace(LINE, kind="bars", series=(Series("s", tuple(f"a long name {i}" for i in range(30)), (1.0,) * 30),)),
        replace(LINE, kind="bars", series=(Series("s", ("a", "b"), (1.0, 2.0)), Series("t", (1.0, 2), (1.0, 2.0)))),
        replace(LINE, kind="bars", series=(Series("s", (3, 1), (1.0, 2.0)),), title="", x_label="", y_label=""),
        replace(LINE, log_x=True, series=(Series("s", (1e-9, 1e9), (1.0, 2.0)),), lines={}),
        replace(LINE, kind="histogram", series=(Series("s", (0.0, 1.0, 2.0), (3.0, 4.0)),)),
        replace(LINE, kind="histogram", series=(Series("s", (1.0,), (3.0,)),)),
    ],
)
def test_odd_but_honest_data_is_drawn(figure: Figure) -> None:
    assert opened(draw_figure(figure)).size == (864, 480)


@pytest.mark.parametrize(
    "series",
    [
        (),
        (Series("s", (), ()),),
        (Series("s", (1, 2), (1.0,)),),
        (Series("s", (1, 2), (1.0, 2.0), (0.5,)),),
        (Series("s", ("a", "b"), (1.0, 2.0)),),
        (Series("s", (1, 2), (1.0, float("nan"))),),
    ],
)
def test_what_cannot_be_drawn_is_refused(series: tuple[Series, ...]) -> None:
    with pytest.raises(EvidenceError):
        draw_figure(replace(LINE, series=series))


def test_figures_whose_names_become_the_same_file_do_not_overwrite_each_other(
    make_results: Callable[..., Results],
) -> None:
    figures = tuple(replace(LINE, name=name) for name in ("a b", "a-b", "A b", "../../a b"))
    found = make_results(checks=(CheckRecord("x/y", "t", "q", Measured((), (), figures)),))
    paths = [file.path for file in figure_files(found)]
    assert len(set(paths)) == 4
    assert all(path.startswith("figures/x-y-") and ".." not in path for path in paths)


def test_a_grid_enlarges_small_images_without_smoothing() -> None:
    images = np.zeros((4, 3, 8, 8), dtype=np.uint8)
    images[1] = 255
    grid = opened(sample_grid(images))
    assert grid.size[0] <= 800
    assert grid.size[0] > 700
    assert set(np.unique(np.asarray(grid))) == {0, 255}
    assert sample_grid(images) == sample_grid(images)


@pytest.mark.parametrize("shape", [(1, 3, 8, 8), (3, 1, 28, 28), (2, 3, 900, 1200), (7, 3, 4, 300), (100, 3, 64, 64)])
def test_a_grid_of_any_size_fits_the_card(shape: tuple[int, ...]) -> None:
    grid = opened(sample_grid(np.zeros(shape, dtype=np.uint8)))
    assert grid.size[0] <= 800


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((0, 3, 8, 8), dtype=np.uint8),
        np.zeros((4, 3, 8, 8), dtype=np.float32),
        np.zeros((4, 2, 8, 8), dtype=np.uint8),
        np.zeros((3, 8, 8), dtype=np.uint8),
    ],
)
def test_a_grid_of_anything_else_is_refused(images: np.ndarray) -> None:
    with pytest.raises(EvidenceError, match="uint8"):
        sample_grid(images)
