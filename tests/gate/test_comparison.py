"""Two runs beside each other: only what is comparable, shared images paired, and verdicts that err as stated."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import ndtri

from ldm_eval.api import Interval, Measured
from ldm_eval.errors import ConfigError, StoreError
from ldm_eval.gate.comparison import MOVER, Side, compare, load_side
from ldm_eval.store.contributions import Contribution, contributions_path, save_contributions
from ldm_eval.store.results import DataRecord, save_results

CHECK = "privacy/near_copies"
RUN = {"seed": 3, "samples": 100}
DATA = (DataRecord("reference", "r", "", "d" * 64, 80, ""),)


def side(results, *measurements, label="a", contributions=(), **changes) -> Side:
    made = results(*measurements, **({"run": RUN, "data": DATA} | changes))
    return Side(label, made, {CHECK: tuple(contributions)} if contributions else {})


def contribution(values, role="samples", name="near_copy_rate") -> Contribution:
    return Contribution(name, None, role, np.asarray(values, dtype=np.float32))


def test_what_both_share_cancels_in_the_difference(results, measurement) -> None:
    rng = np.random.default_rng(0)
    noise, own = rng.standard_normal(100), 0.1 * rng.standard_normal((2, 100))
    sides = [
        side(results, measurement(value), label=label, contributions=[contribution(noise + extra)])
        for value, label, extra in ((0.5, "a", own[0]), (0.46, "b", own[1]))
    ]
    (row,) = compare(*sides).rows
    assert row.paired == ("samples",)
    assert row.difference == pytest.approx(-0.04)
    width = row.interval.high - row.interval.low
    assert width == pytest.approx(2 * 1.96 * np.sqrt(2) * 0.1 / 10, rel=0.2)
    assert row.verdict == "better"
    apart = compare(sides[0], replace(sides[1], results=replace(sides[1].results, run={"seed": 4, "samples": 100})))
    assert apart.rows[0].paired == ()
    assert apart.rows[0].verdict == "not shown"


def test_real_images_are_paired_only_where_they_are_the_same(results, measurement) -> None:
    kept = [contribution(np.arange(80) - 39.5, role="reference")]
    same = [side(results, measurement(), contributions=kept) for _ in range(2)]
    assert compare(*same).rows[0].paired == ("reference",)
    other = side(results, measurement(), contributions=kept, data=(replace(DATA[0], digest="e" * 64),))
    assert compare(same[0], other).rows[0].paired == ()


def test_finished_images_have_no_seed_to_share(results, measurement) -> None:
    finished = measurement(signature={"n": 1000, "seed_rule": "finished-images"})
    kept = [contribution(np.arange(100) - 49.5)]
    sides = [
        side(results, finished, contributions=kept, artifacts={"samples": digest}) for digest in ("x" * 64, "y" * 64)
    ]
    assert compare(*sides).rows[0].paired == ()


def test_without_contributions_the_two_intervals_are_squared_and_added(results, measurement) -> None:
    (row,) = compare(side(results, measurement(0.5, 0.4, 0.7)), side(results, measurement(0.2, 0.17, 0.24))).rows
    assert row.interval.estimator == MOVER
    assert row.interval.low == pytest.approx(-0.3 - np.hypot(0.03, 0.2))
    assert row.interval.high == pytest.approx(-0.3 + np.hypot(0.04, 0.1))
    wider = compare(
        side(results, measurement(0.5, 0.4, 0.7)), side(results, measurement(0.2, 0.17, 0.24)), level=0.99
    ).rows[0]
    scale = ndtri(0.995) / ndtri(0.975)
    assert wider.interval.high == pytest.approx(-0.3 + scale * np.hypot(0.04, 0.1))


def test_another_protocol_is_refused_with_what_differs_unless_that_is_what_is_compared(results, measurement) -> None:
    fast = measurement(signature={"n": 1000, "extractor": "efficientnet-lite0", "steps": 10})
    sides = side(results, measurement()), side(results, fast)
    found = compare(*sides)
    assert found.rows == ()
    assert "steps is 50 and 10 (--across steps" in found.refused[0].reason
    assert len(compare(*sides, across=("steps",)).rows) == 1
    with pytest.raises(ConfigError, match="Did you mean 'steps'"):
        compare(*sides, across=("stepz",))


def test_what_one_run_lacks_and_one_sided_bounds_are_listed(results, measurement) -> None:
    mine = measurement(name="a"), measurement(name="bound", sided="upper")
    theirs = measurement(name="b"), measurement(name="bound", sided="upper")
    found = compare(side(results, *mine), side(results, *theirs, label="other"))
    assert {one.name: one.reason for one in found.refused} == {
        "a": "only the first run has it",
        "bound": "their intervals are one-sided or of different levels",
        "b": "only other has it",
    }


@pytest.mark.parametrize(
    ("direction", "verdict"), [("lower", "better"), ("higher", "worse"), ("target", "neither"), ("none", "neither")]
)
def test_which_way_is_better_is_the_measurements_own(results, measurement, direction, verdict) -> None:
    first, second = measurement(0.5, 0.49, 0.51, direction=direction), measurement(0.1, 0.09, 0.11, direction=direction)
    (row,) = compare(side(results, first), side(results, second)).rows
    assert row.verdict == verdict
    assert (row.p_value is None) == (verdict == "neither")


def test_equal_numbers_without_width_show_nothing(results, measurement) -> None:
    (row,) = compare(*[side(results, measurement(0.0, 0.0, 0.0)) for _ in range(2)]).rows
    assert (row.verdict, row.p_value) == ("not shown", 1.0)


def test_where_nothing_differs_one_comparison_in_twenty_says_so_at_most(results, measurement) -> None:
    rng = np.random.default_rng(7)
    wrong, runs, errors = 0, 400, np.sqrt(1 / 100)
    for _ in range(runs):
        values = rng.standard_normal((2, 100, 6))  # six measurements of two models that are alike
        sides = []
        for one in values:
            means = one.mean(axis=0)
            named = [measurement(m, m - 1.96 * errors, m + 1.96 * errors, name=f"m{at}") for at, m in enumerate(means)]
            kept = [contribution(one[:, at] - means[at], name=f"m{at}") for at in range(6)]
            sides.append(side(results, *named, contributions=kept))
        wrong += any(row.verdict != "not shown" for row in compare(*sides).rows)
    assert wrong <= 0.05 * runs + 3.1 * np.sqrt(0.05 * 0.95 * runs)


def test_versions_and_equal_models_are_told(results, measurement) -> None:
    newer = side(results, measurement(), tool={"name": "ldm-eval", "version": "9", "torch": "3"})
    warnings = compare(side(results, measurement()), newer).warnings
    assert any("same model" in one for one in warnings)
    assert any("0.1.0 and 9" in one for one in warnings)


def test_numbers_of_different_n_are_compared_only_when_asked_and_with_a_warning(results, measurement) -> None:
    sides = [side(results, measurement(signature={"n": n})) for n in (100, 400)]
    assert "n is 100 and 400" in compare(*sides).refused[0].reason
    found = compare(*sides, across=("n",))
    assert len(found.rows) == 1
    assert any("change with n alone" in one for one in found.warnings)


def finished(results, measurement, folder, **changes):
    folder.mkdir()
    path = contributions_path(folder / "contributions", CHECK)
    save_contributions(path, [contribution(np.arange(100) - 49.5)])
    import hashlib

    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    save_results(
        results(measurement(), run=RUN, data=DATA, artifacts={f"contributions/{path.name}": digest}, **changes),
        folder,
    )
    return path


def test_a_finished_run_is_read_with_what_its_images_contribute(results, measurement, tmp_path) -> None:
    finished(results, measurement, tmp_path / "a")
    read = load_side(tmp_path / "a")
    assert read.label == "demo (a)"
    assert read.contributions[CHECK][0].values[0] == -49.5


def test_altered_contributions_and_partial_results_are_refused(results, measurement, tmp_path) -> None:
    path = finished(results, measurement, tmp_path / "a")
    save_contributions(path, [contribution(np.zeros(100))])
    with pytest.raises(StoreError, match="digest differs"):
        load_side(tmp_path / "a")
    finished(results, measurement, tmp_path / "b", partial=True)
    with pytest.raises(ConfigError, match="partial"):
        load_side(tmp_path / "b")


def test_contributions_that_the_results_do_not_name_are_not_believed(results, measurement, tmp_path) -> None:
    finished(results, measurement, tmp_path / "a")
    other = contributions_path(tmp_path / "a/contributions", "quality/kernel_distance")
    save_contributions(other, [contribution(np.zeros(100))])
    assert set(load_side(tmp_path / "a").contributions) == {CHECK}


def test_a_level_that_is_none_is_refused(results, measurement) -> None:
    sides = side(results, measurement()), side(results, measurement())
    for level in (0.5, 1.0, 3.0, float("nan")):
        with pytest.raises(ConfigError, match="level"):
            compare(*sides, level=level)


def test_intervals_of_different_levels_do_not_mix(results, measurement) -> None:
    other = replace(measurement(), interval=Interval(0.4, 0.6, 0.9, "x"))
    assert compare(side(results, measurement()), side(results, other)).rows == ()
    assert isinstance(side(results, other).results.checks[0].outcome, Measured)
