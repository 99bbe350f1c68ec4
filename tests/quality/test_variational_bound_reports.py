"""What the check says of scores that are made up, so that every bit is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from ldm_eval_quality.variational_bound import FEWEST, VariationalBoundCheck
from ldm_eval_quality.variational_bound_score import VARIATIONAL_BOUND, fingerprint, strata
from numpy.typing import NDArray
from scipy.special import ndtr

from ldm_eval.api import Figure, Finding, Invalid, Measurement, NotApplicable, Role, Scores, Series, Table
from ldm_eval.diffusion.schedules import make_schedule
from ldm_eval.testing.evidence import PhantomEvidence, image_set

TIMESTEPS, N = 1000, 40
STRATA = strata(TIMESTEPS, int(VARIATIONAL_BOUND.parameters["singles"]), int(VARIATIONAL_BOUND.parameters["strata"]))


def terms(seed: int) -> NDArray[np.float64]:
    """``(40, 2 + S)``: bits that differ by a hundredth from image to image."""
    return 0.1 + 0.01 * np.random.default_rng(seed).standard_normal((N, 2 + len(STRATA)))


def outcome(
    holdout: NDArray[np.float64],
    training: NDArray[np.float64],
    schedules: tuple[float, float] = (5.0, 5.0),
    space: float = 0.0,
) -> Sequence[Finding] | NotApplicable | Invalid:
    """What the check makes of these terms of different images of a pixel model."""
    given: dict[Role, NDArray[np.float64]] = {"training": training, "holdout": holdout}
    headers = {role: [space, 16.0, TIMESTEPS, schedules[i]] for i, role in enumerate(given)}
    pixels = np.random.default_rng(0).integers(0, 256, (2, N, 1, 4, 4), dtype=np.uint8)
    return VariationalBoundCheck().run(
        PhantomEvidence(
            "quality/variational_bound",
            0,
            images={role: image_set(pixels[i, : len(rows)], role) for i, (role, rows) in enumerate(given.items())},
            scores={
                VARIATIONAL_BOUND.name: {
                    role: Scores(
                        np.arange(len(rows)),
                        np.hstack([np.tile(headers[role], (len(rows), 1)), rows]).astype(np.float32),
                    )
                    for role, rows in given.items()
                }
            },
        )
    )


def reported(holdout: NDArray[np.float64], training: NDArray[np.float64]) -> Sequence[Finding]:
    found = outcome(holdout, training)
    assert not isinstance(found, NotApplicable | Invalid), found
    return found


def area(series: Series) -> float:
    """Bits per doubling, over the doublings."""
    return float(np.trapezoid(series.y, np.log2([float(x) for x in series.x])))


@pytest.mark.parametrize("leap", [0.0, 7.0])
def test_the_area_of_the_curve_is_the_bits_of_the_transitions(leap: float) -> None:
    """Also where the last transition takes most of them: a thin spike, no wide triangle beside it."""
    holdout, training = terms(1), terms(2)
    holdout[:, -1] += leap
    found = reported(holdout, training)
    (figure,) = (one for one in found if isinstance(one, Figure))
    (table,) = (one for one in found if isinstance(one, Table))
    assert table.rows[-3][1] == "999"
    for series, rows in zip(figure.series, (holdout, training), strict=True):
        assert area(series) == pytest.approx(rows[:, 2:].sum(axis=1).mean(), rel=1e-6)


def gap(holdout: NDArray[np.float64], training: NDArray[np.float64]) -> Measurement:
    (one,) = (m for m in reported(holdout, training) if isinstance(m, Measurement) and m.name.endswith("_gap"))
    return one


def test_a_holdout_that_is_easier_than_the_training_images_is_told() -> None:
    """Else a gap below zero would read as the best of all, and pass any limit."""
    easier = gap(terms(1) - 0.05, terms(2))
    assert easier.interval.high < 0
    assert "for a reason that is not training" in easier.note
    assert "below zero" not in gap(terms(1), terms(2)).note
    assert "below zero" not in gap(terms(1) + 0.05, terms(2)).note


def test_too_few_images_or_two_schedules_give_no_number() -> None:
    few = outcome(terms(1)[: FEWEST - 1], terms(2)[:FEWEST])
    assert isinstance(few, NotApplicable)
    assert f"{FEWEST} of training and {FEWEST - 1} of holdout" in few.reason
    assert not isinstance(outcome(terms(1)[:FEWEST], terms(2)[:FEWEST]), NotApplicable)
    assert isinstance(outcome(terms(1), terms(2), schedules=(5.0, 6.0)), Invalid)


def headline(schedule: float, space: float) -> str:
    found = outcome(terms(1), terms(2), (schedule, schedule), space)
    assert not isinstance(found, NotApplicable | Invalid), found
    return next(one.note for one in found if isinstance(one, Measurement))


@pytest.mark.parametrize(
    ("name", "bits"), [("linear", 1.71), ("cosine", 1.13), ("scaled-linear", 3.22), ("zero-terminal-snr", 3.22)]
)
def test_the_headline_says_what_the_schedule_alone_costs(name: str, bits: float) -> None:
    """The decoder's variance is beta_0: a perfect guess is charged for it, and no limit in bits is free of it."""
    schedule = make_schedule(name, TIMESTEPS)
    width = 127.5 * float(schedule.sigma(torch.tensor([0])))
    assert -np.log2(2 * ndtr(0.5 / width) - 1) == pytest.approx(bits, abs=0.006)
    assert f"at least {bits:.2f} bits" in headline(fingerprint(schedule), 0.0)
    assert "at least" not in headline(fingerprint(schedule), 1.0)
    assert "at least" not in headline(5.0, 0.0)
