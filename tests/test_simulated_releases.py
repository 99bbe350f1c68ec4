"""Simulated releases: each is what it is said to be, and one of each goes through run, checks and gate the right way.

``benchmarks/simulated_releases.py`` runs many of them; docs/calibration.md says what came out.
"""

from __future__ import annotations

import importlib
import json
from types import ModuleType

import numpy as np
import pytest

SIZE, REAL, REPEAT = 200, 200, 1


@pytest.fixture(scope="module")
def releases() -> ModuleType:
    """The benchmark, imported as it imports its own tables."""
    from pathlib import Path

    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).resolve().parent.parent / "benchmarks"))
        yield importlib.import_module("simulated_releases")


@pytest.fixture(scope="module")
def world(releases):
    return releases.World.made(REPEAT, size=SIZE, real=REAL)


def is_in(pixels, others) -> np.ndarray:
    known = {image.tobytes() for image in others}
    return np.array([image.tobytes() in known for image in pixels])


def test_a_repeat_is_the_same_when_it_is_painted_again(releases, world):
    again = releases.World.made(REPEAT, size=SIZE, real=REAL)
    assert np.array_equal(again.good.pixels, world.good.pixels)
    assert np.array_equal(releases.several(again).pixels, releases.several(world).pixels)


def test_training_holdout_and_a_good_release_share_no_image(releases, world):
    good = releases.good(world)
    assert not is_in(good.pixels, world.training.pixels).any()
    assert not is_in(world.holdout.pixels, world.training.pixels).any()


def test_a_leaking_release_copies_about_the_share_it_should_and_nothing_else_changes(releases, world):
    leaking = releases.leaking(world)
    copied = is_in(leaking.pixels, world.training.pixels)
    assert 4 <= copied.sum() <= 24  # Binomial(200, 0.06): outside with probability 0.002
    assert np.array_equal(leaking.pixels[~copied], world.good.pixels[~copied])


def test_a_shifted_copy_is_no_training_image_any_more(releases, world):
    assert not is_in(releases.leaking_shifted(world).pixels, world.training.pixels).any()


def test_a_biased_release_has_more_light_and_fewer_other_sitters(releases, world):
    biased, good = releases.biased(world), world.good
    changed = biased.tone != good.tone
    assert changed.any()
    assert (biased.tone[changed] == 0).all()
    assert np.array_equal(biased.pixels[~changed], good.pixels[~changed])
    lost = np.array([1 - b / t for b, t in zip(releases.BIASED_SHARES, releases.TONE_SHARES, strict=True)])
    assert np.dot(np.maximum(lost, 0), releases.TONE_SHARES) == pytest.approx(0.15)


def test_a_dropping_release_lacks_older_people_and_glasses(releases, world):
    dropping = releases.dropping(world)
    assert not (dropping.age == 2).any()
    assert not dropping.glasses.any()


def test_a_blurred_release_shows_the_same_sitters(releases, world):
    blurred = releases.blurring(world)
    assert np.array_equal(blurred.tone, world.good.tone)
    assert not np.array_equal(blurred.pixels, world.good.pixels)


def test_what_has_run_is_not_run_again(releases, tmp_path):
    kind = releases.KINDS["good"]
    done = [{"kind": "good", "n": n, "repeat": r} for n in kind.sizes for r in range(2)]
    runs = tmp_path / "runs.jsonl"
    runs.write_text("".join(json.dumps(each) + "\n" for each in done), encoding="utf-8")
    before = runs.read_bytes()
    releases.run_all(repeats=2, jobs=1, kinds=["good"], runs=runs)
    assert runs.read_bytes() == before


@pytest.mark.slow
def test_the_gate_errs_on_none_of_a_good_a_leaking_and_a_biased_release(releases, world, tmp_path, capsys):
    memory = releases.RememberedFeatures(releases._extractor())
    records = {name: releases.simulate(name, SIZE, world, tmp_path, memory) for name in ("good", "leaking", "biased")}
    status = {name: {rule: found[0] for rule, found in record["rules"].items()} for name, record in records.items()}
    assert records["good"]["verdict"] in ("pass", "inconclusive")
    assert status["good"]["exact-copies"] == status["good"]["near-copies"] == "pass"
    assert records["leaking"]["verdict"] in ("fail", "inconclusive")
    assert "pass" not in (status["leaking"]["exact-copies"], status["leaking"]["near-copies"])
    assert records["biased"]["verdict"] in ("fail", "inconclusive")
    assert status["biased"]["shares"] in ("fail", "inconclusive")

    runs = tmp_path / "runs.jsonl"
    runs.write_text("".join(json.dumps(each) + "\n" for each in records.values()), encoding="utf-8")
    tables = importlib.import_module("simulated_releases_tables")
    tables.print_tables(runs)
    assert f"| good | {SIZE} | pass |" in capsys.readouterr().out


def test_the_committed_runs_hold_no_repeat_twice_and_no_release_that_is_not_described(releases):
    runs = [json.loads(line) for line in releases.RUNS.read_text(encoding="utf-8").splitlines()]
    keys = [(run["kind"], run["n"], run["repeat"]) for run in runs]
    assert len(set(keys)) == len(keys)
    assert {(kind, n) for kind, n, _ in keys} == {
        (name, n) for name, kind in releases.KINDS.items() for n in kind.sizes
    }
