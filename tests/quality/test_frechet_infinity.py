"""The check of the Fréchet distance at infinite n: phantoms both ways, names, companions, refusals."""

import numpy as np
import pytest
from ldm_eval_quality.frechet_infinity import FrechetInfinityCheck
from ldm_eval_quality.phantoms import copier, gaussian
from scipy.special import bdtr

from ldm_eval.api import Evidence, ExtractorInfo, Figure, Invalid, Measurement, NotApplicable, Table
from ldm_eval.stats.paired import contributed_variance
from ldm_eval.testing.evidence import PhantomEvidence

CHECK = "quality/frechet_infinity"
NAME = "frechet_distance_infinity"


def measured(evidence: Evidence) -> dict[str, Measurement]:
    found = FrechetInfinityCheck().run(evidence)
    assert not isinstance(found, NotApplicable | Invalid), found
    return {one.name: one for one in found if isinstance(one, Measurement)}


@pytest.mark.parametrize(("shift", "scale"), [(0.0, 1.0), (0.3, 1.0), (0.0, 0.7), (0.0, 1.4)])
def test_blurrers_and_noisy_models_have_the_closed_form_at_every_n(shift: float, scale: float) -> None:
    held = 0
    for n in (80, 160, 320):
        for seed in range(10):
            found = measured(gaussian(seed, check=CHECK, dimension=16, n=n, m=2 * n, shift=shift, scale=scale))[NAME]
            held += found.interval.low <= 16 * (shift**2 + (scale - 1) ** 2) <= found.interval.high
    assert bdtr(held, 30, 0.94) > 1e-3


def test_the_name_says_in_which_space(monkeypatch: pytest.MonkeyPatch) -> None:
    info = ExtractorInfo("inception-2015", "1" * 64, 16, 1008, "tf1-bilinear-299", "Apache-2.0")
    monkeypatch.setattr(PhantomEvidence, "extractor", lambda _: info)
    assert set(measured(gaussian(0, check=CHECK))) == {"fid_infinity"}


def test_copies_are_closer_to_training() -> None:
    found = measured(copier(0, check=CHECK, copied=1.0))
    assert set(found) == {NAME, f"{NAME}_to_training"}  # the holdout is the reference
    assert found[f"{NAME}_to_training"].interval.high < found[NAME].interval.high
    assert found[f"{NAME}_to_training"].direction == "none"


def test_there_is_no_floor_where_the_halves_keep_more_of_the_bias_than_the_value() -> None:
    found = measured(gaussian(0, check=CHECK, dimension=64, n=200, m=200))[NAME]
    assert found.interval.sided == "two"
    assert found.floor is None
    assert "No floor: 100 against 100" in found.note


def test_floor_is_about_zero_where_the_distance_of_real_images_is_not() -> None:
    floors = [measured(gaussian(seed, check=CHECK, dimension=32, n=200, m=400))[NAME].floor for seed in range(20)]
    values = np.array(floors, dtype=float)
    assert abs(values.mean()) < 3.5 * values.std(ddof=1) / 20**0.5


def test_fewer_than_twice_the_dimension_is_said_and_bounded_from_above_only() -> None:
    evidence = gaussian(0, check=CHECK, dimension=64, n=100, m=200)
    found = measured(evidence)[NAME]
    assert found.interval.sided == "upper"
    assert "read the upper bound, and the kernel distance beside it" in found.note
    (table,) = (one for one in FrechetInfinityCheck().run(evidence) if isinstance(one, Table))
    assert table.rows[0][table.columns.index("low")] is None


def test_figure_continues_the_line_to_the_value() -> None:
    evidence = gaussian(0, check=CHECK)
    (figure,) = (one for one in FrechetInfinityCheck().run(evidence) if isinstance(one, Figure))
    _, line = figure.series
    assert line.x[0] == 0.0
    assert line.y[0] == pytest.approx(measured(evidence)[NAME].value, abs=1e-9)


def test_contributions_have_the_variance_of_the_interval() -> None:
    evidence = gaussian(0, check=CHECK)
    found = measured(evidence)[NAME]
    kept = evidence.kept[NAME, None]  # type: ignore[attr-defined]
    error = (found.interval.high - found.interval.low) / (2 * 1.959964)
    assert sum(map(contributed_variance, kept.values())) == pytest.approx(error**2, rel=1e-6)


def test_too_few_images_and_a_constant_reference_are_refused() -> None:
    few = PhantomEvidence(CHECK, 0, features={"samples": np.zeros((20, 4), "f4"), "reference": np.zeros((99, 4), "f4")})
    assert isinstance(FrechetInfinityCheck().run(few), NotApplicable)
    same = PhantomEvidence(
        CHECK,
        0,
        features={
            "samples": np.random.default_rng(0).standard_normal((99, 4)).astype("f4"),
            "reference": np.ones((99, 4), "f4"),
        },
    )
    assert isinstance(FrechetInfinityCheck().run(same), Invalid)
