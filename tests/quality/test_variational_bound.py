"""The estimator against exact bounds of phantoms; what the check reports, and what it leaves out."""

import itertools

import numpy as np
import pytest
import torch
from ldm_eval_quality import phantoms, variational_bound_score
from ldm_eval_quality.variational_bound import VariationalBoundCheck
from ldm_eval_quality.variational_bound_score import VARIATIONAL_BOUND, Layout, fingerprint, score, strata
from scipy.stats import binom

from ldm_eval.api import DiffusionParts, Figure, Invalid, Measurement, NotApplicable, Scores, Table
from ldm_eval.diffusion.likelihood import prior_term, variational_bound
from ldm_eval.diffusion.noise import SampleNoise
from ldm_eval.diffusion.quantise import to_float
from ldm_eval.diffusion.schedules import SCHEDULES, DiscreteSchedule, make_schedule
from ldm_eval.errors import ConfigError, DataError, EvidenceError
from ldm_eval.report.figures import draw_figure
from ldm_eval.stats.means import difference_of_means, mean_of
from ldm_eval.testing.bounds import expected_bound, gaussian_errors, rounded_decoder, rounded_normal
from ldm_eval.testing.denoisers import GaussianDenoiser, OptimalDenoiser
from ldm_eval.testing.evidence import PhantomEvidence, image_set
from ldm_eval.testing.limits import Moments

SHAPE = (1, 6, 6)
LAW = Moments(0.1, 0.0625)
PARAMETERS = VARIATIONAL_BOUND.parameters
RUNS, EACH = 120, 40


class Identity:
    """An autoencoder that does nothing, so that the latent's law is known."""

    image_shape = latent_shape = SHAPE
    scale = 1.0

    def encode(self, images):
        return images

    def decode(self, latents):
        return latents


def parts(schedule, denoiser=None, space="pixels"):
    exact = denoiser or GaussianDenoiser(torch.full(SHAPE, LAW.mean).double(), LAW.variance, schedule, "v")
    return DiffusionParts(schedule, exact, SHAPE, torch.device("cpu"), Identity() if space == "latents" else None)


def images(n, space="pixels", seed=0):
    drawn = LAW.mean + LAW.variance**0.5 * torch.randn((n, *SHAPE), generator=torch.Generator().manual_seed(seed))
    return drawn if space == "latents" else to_float(((drawn + 1) * 127.5).round().clamp(0, 255).to(torch.uint8))


def exact_bound(schedule, space, variance):
    """In expectation over images and noise; pixels are rounded Gaussians, which the denoiser takes for Gaussians."""
    data, decoder = LAW, None
    if space == "pixels":
        shares, level = rounded_normal(LAW), np.arange(256) / 127.5 - 1
        mean = float(shares @ level)
        data, decoder = (
            Moments(mean, float(shares @ (level - mean) ** 2)),
            rounded_decoder(schedule, LAW, shares),
        )
    second = data.mean**2 + data.variance
    return expected_bound(schedule, gaussian_errors(schedule, LAW, data), second, variance=variance, decoder=decoder)


def by_column(bound, ranges):
    return np.array([bound.prior, bound.decoder, *(bound.transitions[r.first - 1 : r.last].sum() for r in ranges)])


@pytest.mark.parametrize("timesteps", [1, 2, 5, 21, 22, 23, 24, 25, 30, 50, 100, 101, 256, 1000, 4000])
def test_every_transition_is_in_exactly_one_stratum(timesteps):
    ranges = strata(timesteps, 4, 16)
    assert [t for r in ranges for t in range(r.first, r.last + 1)] == list(range(1, timesteps))
    assert len(ranges) <= 21
    sizes = [r.size for r in ranges[:-1]]
    assert all(later >= earlier - 1 for earlier, later in itertools.pairwise(sizes))
    if timesteps >= 23:
        assert [r.size for r in ranges[:4]] == [1] * 4
        assert ranges[-1].size == 1
        assert len(ranges) == 21


def test_strata_of_any_chain_cover_it():
    for timesteps in range(1, 400):
        for singles, count in ((1, 1), (2, 8), (8, 24)):
            ranges = strata(timesteps, singles, count)
            assert sum(r.size for r in ranges) == timesteps - 1
            assert all(r.size >= 1 for r in ranges)


@pytest.mark.parametrize("space", ["pixels", "latents"])
@pytest.mark.parametrize(
    ("name", "timesteps", "variance"),
    [("linear", 1000, "beta"), ("cosine", 1000, "posterior"), ("zero-terminal-snr", 300, "beta")],
)
def test_the_estimate_is_unbiased_and_its_intervals_hold_the_exact_bound(space, name, timesteps, variance):
    """120 runs of 40 images. Accepted: 95 % within its binomial region (0.001 either side), every column at 4.5 s.e."""
    schedule = make_schedule(name, timesteps)
    bound = exact_bound(schedule, space, variance)
    values = score(parts(schedule, space=space), images(RUNS * EACH, space), 3, {**PARAMETERS, "variance": variance})
    layout = Layout.read(values, PARAMETERS)
    terms = values[:, Layout.HEADER :].astype(np.float64)
    error = terms.std(axis=0) / np.sqrt(len(terms))
    z = (terms.mean(axis=0) - by_column(bound, layout.ranges)) / np.maximum(error, 1e-9)
    assert np.abs(z).max() < 4.5, z
    assert_intervals_hold(terms.sum(axis=1), bound.total)


def assert_intervals_hold(totals, truth):
    runs = totals.reshape(-1, EACH)
    intervals = [mean_of(run).interval for run in runs]
    held = sum(i.low <= truth <= i.high for i in intervals)
    gaps = [difference_of_means(one, other).interval for one, other in zip(runs[::2], runs[1::2], strict=True)]
    level = sum(i.low <= 0.0 <= i.high for i in gaps)
    assert 0.001 < binom.cdf(held, len(runs), 0.95) < 0.9999, held
    assert 0.001 < binom.cdf(level, len(gaps), 0.95) < 0.9999, level


class TestEstimatorsThatAreWrong:
    """Each would look right in one run; the coverage test notices them."""

    schedule = make_schedule("linear", 1000)

    def totals(self):
        totals = []
        for run in range(RUNS):  # each run with its own seed, as in the field
            values = score(parts(self.schedule), images(EACH, seed=run), run, PARAMETERS)
            totals.append(values[:, Layout.HEADER :].astype(np.float64).sum(axis=1))
        return np.concatenate(totals)

    def assert_noticed(self):
        with pytest.raises(AssertionError):
            assert_intervals_hold(self.totals(), exact_bound(self.schedule, "pixels", "beta").total)

    def test_the_right_one_passes_the_same_test(self):
        assert_intervals_hold(self.totals(), exact_bound(self.schedule, "pixels", "beta").total)

    def test_the_first_timestep_of_every_stratum_is_biased(self, monkeypatch):
        monkeypatch.setattr(
            variational_bound_score,
            "_timesteps",
            lambda layout, seeds: np.array([[r.first for r in layout.ranges]] * len(seeds)),
        )
        self.assert_noticed()

    def test_draws_shared_by_all_images_leave_an_error_no_interval_sees(self, monkeypatch):
        monkeypatch.setattr(variational_bound_score, "_image_seed", lambda image, seed: seed)
        self.assert_noticed()


def test_a_short_chain_is_the_whole_bound():
    """T - 1 transitions fit the calls, so nothing is drawn: equal to ``variational_bound`` under the same noise."""
    schedule = make_schedule("cosine", 20)
    x0 = images(3)
    found = score(parts(schedule), x0, 7, {**PARAMETERS, "clip": False})
    seeds = [variational_bound_score._image_seed(row, 7) for row in x0]
    whole = variational_bound(parts(schedule).denoiser, schedule, x0, SampleNoise(seeds), variance="beta")
    wanted = torch.cat([whole.prior[:, None], whole.decoder[:, None], whole.transitions], dim=1)
    np.testing.assert_allclose(found[:, Layout.HEADER :], wanted.numpy(), rtol=1e-6, atol=1e-9)


def test_a_score_depends_on_the_image_and_the_seed_alone():
    schedule, x0 = make_schedule("linear", 1000), images(12)
    whole = score(parts(schedule), x0, 0, PARAMETERS)
    pieces = np.concatenate([score(parts(schedule), x0[i : i + 5], 0, PARAMETERS) for i in range(0, 12, 5)])
    np.testing.assert_allclose(pieces, whole, rtol=1e-5)
    backwards = score(parts(schedule), x0.flip(0), 0, PARAMETERS)[::-1]
    np.testing.assert_allclose(backwards, whole, rtol=1e-5)
    other = score(parts(schedule), x0, 1, PARAMETERS)
    assert not np.allclose(other[:, Layout.HEADER + 1 :], whole[:, Layout.HEADER + 1 :], rtol=1e-3)


def test_what_the_network_predicts_does_not_matter():
    schedule, x0 = make_schedule("linear", 1000), images(4)
    networks = [GaussianDenoiser(torch.full(SHAPE, 0.1), 0.06, schedule, kind) for kind in ("epsilon", "x0", "v")]
    rows = [score(parts(schedule, network), x0, 0, PARAMETERS) for network in networks]
    np.testing.assert_allclose(rows[1], rows[0], rtol=2e-4, atol=1e-6)
    np.testing.assert_allclose(rows[2], rows[0], rtol=2e-4, atol=1e-6)


def test_clipping_never_makes_a_transition_dearer():
    schedule = make_schedule("linear", 1000)
    wild = parts(schedule, GaussianDenoiser(torch.full(SHAPE, 0.9), 0.5, schedule))
    scored = [score(wild, images(6), 0, {**PARAMETERS, "clip": clip}) for clip in (False, True)]
    free, clipped = (rows[:, Layout.HEADER + 2 :] for rows in scored)
    assert np.all(clipped <= free + 1e-7)
    assert clipped.sum() < free.sum()


def test_what_cannot_be_scored_is_refused():
    schedule = make_schedule("linear", 1000)
    with pytest.raises(DataError, match="8-bit"):
        score(parts(schedule), images(2, "latents"), 0, PARAMETERS)
    with pytest.raises(ConfigError, match="'posterior' or 'beta'"):
        score(parts(schedule), images(2), 0, {**PARAMETERS, "variance": "learned"})
    with pytest.raises(ConfigError, match="at least one"):
        score(parts(schedule), images(2), 0, {**PARAMETERS, "strata": 0})
    stored = score(parts(schedule), images(2), 0, PARAMETERS)
    with pytest.raises(EvidenceError, match="fresh folder"):
        Layout.read(stored[:, :-1], PARAMETERS)


def test_the_header_says_which_model_it_was():
    every = {name: fingerprint(make_schedule(name, 1000)) for name in SCHEDULES}
    assert len(set(every.values())) == len(SCHEDULES)
    for space in ("pixels", "latents"):
        schedule = make_schedule("scaled-linear", 200)
        layout = Layout.of(parts(schedule, space=space), PARAMETERS)
        assert Layout.read(score(parts(schedule, space=space), images(2), 0, PARAMETERS), PARAMETERS) == layout
        assert (layout.space, layout.dimensions, layout.timesteps) == (space, 36, 200)


def evidence(training, holdout, schedule=None, space="pixels", denoiser=None):
    """Evidence of these uint8 images under a denoiser."""
    inside = parts(schedule or make_schedule("linear", 100), denoiser, space)
    sets = {"training": training, "holdout": holdout}
    scores = {
        role: Scores(np.arange(len(pixels)), score(inside, to_float(pixels), 0, PARAMETERS))
        for role, pixels in sets.items()
    }
    return PhantomEvidence(
        "quality/variational_bound",
        0,
        images={role: image_set(pixels, role) for role, pixels in sets.items()},
        scores={VARIATIONAL_BOUND.name: scores},
    )


def levels(n, seed):
    return ((images(n, seed=seed) + 1) * 127.5).round().to(torch.uint8).numpy()


def measured(findings):
    return {one.name: one for one in findings if isinstance(one, Measurement)}


def test_the_law_has_no_gap_and_the_memoriser_a_wide_one():
    law = measured(VariationalBoundCheck().run(phantoms.bound_of_law(1)))
    gap = law["variational_bound_gap"]
    assert gap.interval.low < 0 < gap.interval.high
    assert gap.value == pytest.approx(law["variational_bound"].value - law["variational_bound_training"].value)
    memoriser = measured(VariationalBoundCheck().run(phantoms.bound_of_memoriser(1)))
    assert memoriser["variational_bound_gap"].interval.low > 100
    assert memoriser["variational_bound_training"].value < law["variational_bound_training"].value


def test_a_model_that_half_remembers_is_seen():
    """The optimal denoiser of the training images blurred by a tenth of the law's deviation: a mild overfit."""
    training, holdout = levels(80, 1), levels(80, 2)
    schedule = make_schedule("linear", 1000)
    kept, law = OptimalDenoiser(to_float(training), schedule, "x0"), parts(schedule).denoiser

    class Half:
        prediction = "x0"

        def __call__(self, x_t, t, labels=None):
            general = law.__class__(torch.full(SHAPE, LAW.mean).double(), LAW.variance, schedule, "x0")
            return 0.9 * general(x_t, t) + 0.1 * kept(x_t, t)

    gap = measured(VariationalBoundCheck().run(evidence(training, holdout, schedule, denoiser=Half())))
    assert gap["variational_bound_gap"].interval.low > 0


def test_latents_have_names_and_units_of_their_own():
    found = measured(VariationalBoundCheck().run(evidence(levels(40, 1), levels(40, 2), space="latents")))
    assert list(found) == [
        "latent_variational_bound",
        "latent_variational_bound_training",
        "latent_variational_bound_gap",
    ]
    for one in found.values():
        assert one.unit == "bits per latent dimension (a density)"
        assert (one.signature["space"], one.signature["decoder"]) == ("latents", "gaussian")
    note = found["latent_variational_bound"].note
    assert "not bits per pixel and bounds no likelihood of the image" in note


def test_what_is_scored_of_a_latent_model_is_the_latent():
    class Halving(Identity):
        def encode(self, images):
            return 0.5 * images

    schedule, x0 = make_schedule("scaled-linear", 200), images(4)
    inside = DiffusionParts(schedule, parts(schedule).denoiser, SHAPE, torch.device("cpu"), Halving())
    found = score(inside, x0, 0, PARAMETERS)[:, Layout.HEADER]
    np.testing.assert_allclose(found, prior_term(schedule, 0.5 * x0).numpy(), rtol=1e-6)


def test_the_signature_holds_what_must_be_equal():
    betas = torch.linspace(0.001, 0.03, 100)
    for schedule, name in (
        (make_schedule("cosine", 100), "cosine"),
        (DiscreteSchedule("own", betas), f"unnamed, {fingerprint(DiscreteSchedule('own', betas)):06x}"),
    ):
        found = measured(VariationalBoundCheck().run(evidence(levels(40, 1), levels(40, 2), schedule)))
        signature = found["variational_bound"].signature
        assert signature["schedule"] == name
        assert signature["timesteps"] == 100
        assert signature["labels"] == "none"
        assert {"score_strata", "score_singles", "score_variance", "score_clip", "holdout_digest"} <= set(signature)


def test_the_table_and_the_curve_add_up_to_the_bound():
    findings = VariationalBoundCheck().run(phantoms.bound_of_law(2))
    bound = measured(findings)["variational_bound"].value
    (table,) = (one for one in findings if isinstance(one, Table))
    parts_of_it, whole = table.rows[:-1], table.rows[-1]
    assert whole[2] == pytest.approx(bound, rel=1e-12)
    assert sum(row[2] for row in parts_of_it) == pytest.approx(bound, rel=1e-9)
    assert [row[1] for row in table.rows] == ["0", "1", "2-4", "5-18", "19-70", "71-265", "266-998", "999", "", ""]
    (figure,) = (one for one in findings if isinstance(one, Figure))
    assert [len(one.x) for one in figure.series] == [42, 42]
    assert draw_figure(figure).startswith(b"\x89PNG")


def test_clipping_hides_what_an_epsilon_network_costs_at_the_end_of_the_chain():
    """Its error, here a tenth, is multiplied by 1/alpha: 7 bits of a latent model, and none of a pixel model."""
    schedule = make_schedule("cosine", 100)
    law = GaussianDenoiser(torch.full(SHAPE, LAW.mean).double(), LAW.variance, schedule)

    class Off:
        prediction = "epsilon"

        def __call__(self, x_t, t, labels=None):
            return law(x_t, t) + 0.1 * (t == 99).reshape(-1, 1, 1, 1)

    last = [score(parts(schedule, Off(), space), images(4), 0, PARAMETERS)[:, -1] for space in ("pixels", "latents")]
    assert last[0].max() < 1e-3
    assert last[1].min() > 7.0


@pytest.mark.parametrize("timesteps", [25, 30])
def test_short_chains_are_reported_too(timesteps):
    findings = VariationalBoundCheck().run(evidence(levels(40, 1), levels(40, 2), make_schedule("linear", timesteps)))
    assert not isinstance(findings, NotApplicable | Invalid)
    (table,) = (one for one in findings if isinstance(one, Table))
    assert sum(row[2] for row in table.rows[:-1]) == pytest.approx(table.rows[-1][2], rel=1e-9)


def test_repeated_and_shared_images_are_left_out():
    training, holdout = levels(40, 1), levels(40, 2)
    clean = measured(VariationalBoundCheck().run(evidence(training, holdout)))
    repeated = np.concatenate([training, training[:7], training[:7]])
    leaky = np.concatenate([holdout, training[:5]])
    found = measured(VariationalBoundCheck().run(evidence(repeated, leaky)))
    for name in clean:
        assert found[name].value == pytest.approx(clean[name].value, rel=1e-6)
        assert found[name].n == clean[name].n
    assert "19 repeated or shared images were left out" in found["variational_bound_gap"].note


def test_the_score_costs_what_the_plan_says():
    class Counting:
        prediction = "v"
        calls = 0

        def __call__(self, x_t, t, labels=None):
            self.calls += 1
            return torch.zeros_like(x_t)

    counting = Counting()
    score(parts(make_schedule("linear", 1000), counting), images(2), 0, PARAMETERS)
    assert counting.calls == VARIATIONAL_BOUND.calls_per_image == 22


def main():
    """Print coverage, and what fewer calls cost: ``python tests/quality/test_variational_bound.py`` (minutes)."""
    schedule = make_schedule("linear", 1000)
    for space in ("pixels", "latents"):
        bound, held, level, means = exact_bound(schedule, space, "beta"), 0, 0, []
        for seed in range(10, 18):
            values = score(parts(schedule, space=space), images(5000, space, seed), seed, PARAMETERS)
            totals = values[:, Layout.HEADER :].astype(np.float64).sum(axis=1)
            means.append(totals.mean())
            runs = totals.reshape(-1, EACH)
            held += sum(i.low <= bound.total <= i.high for i in (mean_of(run).interval for run in runs))
            level += sum(
                i.low <= 0.0 <= i.high
                for i in (difference_of_means(a, b).interval for a, b in zip(runs[:-1:2], runs[1::2], strict=True))
            )
        print(f"{space}: exact {bound.total:.4f}, found {np.mean(means):.4f}; held {held} of 1000, gap {level} of 496")
    for singles, count in ((8, 24), (4, 16), (3, 12), (2, 8), (1, 4)):
        parameters = {**PARAMETERS, "singles": singles, "strata": count}
        twice = [
            score(parts(schedule), images(2000), seed, parameters)[:, Layout.HEADER :].sum(axis=1) for seed in (0, 1)
        ]
        drawn = float(np.sqrt(np.mean((twice[0] - twice[1]) ** 2) / 2))
        print(f"{singles} + {count}: {singles + count + 2} calls, sd {twice[0].std():.3f}, of draws {drawn:.3f}")
    for seed in (1, 2):
        for make in (phantoms.bound_of_law, phantoms.bound_of_memoriser):
            found = measured(VariationalBoundCheck().run(make(seed)))
            print(make.__name__, seed, [(o.value, o.interval.low, o.interval.high) for o in found.values()])


if __name__ == "__main__":
    main()
