from __future__ import annotations

import math

import numpy as np
import pytest
from ldm_eval_quality.reconstruction_distance import ReconstructionDistanceCheck
from ldm_eval_quality.reconstruction_phantom import autoencoder
from scipy.special import bdtr

from ldm_eval.api import Evidence, ExtractorInfo, Figure, Invalid, Measurement, NotApplicable, Table
from ldm_eval.errors import EvidenceError
from ldm_eval.testing.evidence import PhantomEvidence

CHECK = "quality/reconstruction_distance"


def measured(evidence: Evidence) -> dict[str, Measurement]:
    found = ReconstructionDistanceCheck().run(evidence)
    assert not isinstance(found, NotApplicable | Invalid), found
    return {one.name: one for one in found if isinstance(one, Measurement)}


def test_a_perfect_autoencoder_is_at_zero_at_every_n() -> None:
    found = measured(autoencoder(0, n=60, dimension=40))
    assert found["rfd"].value <= 1e-9
    assert found["rfd"].interval.high <= 1e-6
    assert found["rfd"].floor is None
    assert found["reconstruction_error"].value == found["reconstruction_error"].interval.high == 0.0


@pytest.mark.parametrize("shrink", [0.6, 0.8, 0.95])
def test_a_blurrer_is_at_the_closed_form(shrink: float) -> None:
    truth = 16 * (1 - shrink) ** 2
    runs = [measured(autoencoder(seed, shrink=shrink))["rfd"] for seed in range(20)]
    held = sum(run.interval.low <= truth <= run.interval.high for run in runs)
    assert bdtr(held, 20, 0.95) > 1e-3
    assert np.mean([run.value for run in runs]) == pytest.approx(truth, rel=0.02)


def test_the_phantom_reads_what_its_images_make_it_read() -> None:
    """The truth that is declared is the expectation at 600 images: 0.39 spreads above the limit of the distance."""
    case = ReconstructionDistanceCheck.phantoms.catches
    limit, truth = 16 * (math.hypot(0.8, 0.1) - 1.0) ** 2, case.truth
    assert truth is not None
    values = [measured(autoencoder(seed, shrink=0.8, noise=0.1))["rfd"].value for seed in range(1000, 1200)]
    error = np.std(values, ddof=1) / np.sqrt(len(values))
    assert abs(np.mean(values) - truth) < 3 * error
    assert truth - limit > 4 * error


def test_the_number_of_images_is_told_apart_from_the_loss() -> None:
    truth = 16 * (math.hypot(1.0, 0.3) - 1.0) ** 2
    tables = []
    for seed in range(20):
        found = ReconstructionDistanceCheck().run(autoencoder(seed, noise=0.3, n=300))
        assert not isinstance(found, NotApplicable | Invalid)
        (table,) = (one for one in found if isinstance(one, Table))
        tables.append({str(name): value for name, value in table.rows})
    value = np.mean([float(table["distance"] or 0) for table in tables])
    bias = np.mean([float(table["part due to the number of images (halves minus whole)"] or 0) for table in tables])
    assert value > 2 * truth  # mostly the size of the set
    assert value - bias == pytest.approx(truth, rel=0.1)


def test_grey_levels_are_those_of_the_pixels_and_no_image_wraps_around() -> None:
    assert measured(autoencoder(0, levels=5))["reconstruction_error"].value == 5.0
    evidence = PhantomEvidence(
        CHECK,
        0,
        images={
            "holdout": autoencoder(0).images("holdout"),
            "reconstruction": autoencoder(0, levels=60).images("reconstruction"),
        },
        features={role: autoencoder(0).features(role) for role in ("holdout", "reconstruction")},  # type: ignore[misc]
    )
    assert measured(evidence)["reconstruction_error"].value == 60.0


def test_the_pairs_matter() -> None:
    """The same two sets in another order: as far apart, and the order of the pairs is what makes the interval."""
    evidence = autoencoder(0, shrink=0.8)
    made = evidence.features("reconstruction")
    shuffled = PhantomEvidence(
        CHECK,
        0,
        images={role: evidence.images(role) for role in ("holdout", "reconstruction")},  # type: ignore[misc]
        features={"holdout": evidence.features("holdout"), "reconstruction": np.roll(made, 1, axis=0)},
    )
    paired, broken = measured(evidence)["rfd"], measured(shuffled)["rfd"]
    assert broken.value == pytest.approx(paired.value, rel=1e-6)
    width = broken.interval.high - broken.interval.low
    assert width > 4 * (paired.interval.high - paired.interval.low)


def test_only_inception_features_give_an_rfid(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "rFD (phantom)" in measured(autoencoder(0))["rfd"].note
    info = ExtractorInfo("inception-2015", "1" * 64, 16, 1008, "tf1-bilinear-299", "Apache-2.0")
    monkeypatch.setattr(PhantomEvidence, "extractor", lambda _: info)
    assert set(measured(autoencoder(0))) == {"rfid", "reconstruction_error"}


def test_few_images_for_the_dimension_are_told() -> None:
    assert "compare at equal n only" in measured(autoencoder(0, n=60, dimension=40))["rfd"].note
    assert "compare at equal n only" not in measured(autoencoder(0, n=600))["rfd"].note


def test_too_few_images_and_constant_features_give_no_number() -> None:
    few = ReconstructionDistanceCheck().run(autoencoder(0, n=40))
    assert isinstance(few, NotApplicable)
    assert "40 images" in few.reason
    same = PhantomEvidence(
        CHECK,
        0,
        features={"holdout": np.ones((60, 4), np.float32), "reconstruction": np.ones((60, 4), np.float32)},
    )
    assert isinstance(ReconstructionDistanceCheck().run(same), Invalid)


def test_sets_that_are_no_pairs_are_an_error() -> None:
    rows = np.random.default_rng(0).standard_normal((80, 4)).astype(np.float32)
    evidence = PhantomEvidence(CHECK, 0, features={"holdout": rows, "reconstruction": rows[:70]})
    with pytest.raises(EvidenceError, match="80 holdout images have 70 reconstructions"):
        ReconstructionDistanceCheck().run(evidence)


def test_the_figure_counts_every_image_once() -> None:
    found = ReconstructionDistanceCheck().run(autoencoder(0, levels=2))
    assert not isinstance(found, NotApplicable | Invalid)
    (figure,) = (one for one in found if isinstance(one, Figure))
    assert sum(figure.series[0].y) == 600
