from itertools import product

import pytest
import torch

from ldm_eval.diffusion.parameterisation import add_noise, convert, estimate, predict, training_target
from ldm_eval.diffusion.schedules import SCHEDULES, make_schedule
from ldm_eval.errors import ModelError

KINDS = ("epsilon", "x0", "v")


class Oracle:
    """Knows the true x0 and epsilon and answers in any parameterisation."""

    def __init__(self, prediction, truth):
        self.prediction = prediction
        self.truth = truth

    def __call__(self, x_t, t, labels=None):
        return self.truth[self.prediction]


def known(schedule, t, dtype=torch.float64):
    generator = torch.Generator().manual_seed(3)
    x0 = torch.randn((len(t), 2, 3, 4), generator=generator, dtype=torch.float64)
    epsilon = torch.randn(x0.shape, generator=generator, dtype=torch.float64)
    alpha, sigma = (f(t).reshape(-1, 1, 1, 1) for f in (schedule.alpha, schedule.sigma))
    truth = {"epsilon": epsilon, "x0": x0, "v": alpha * epsilon - sigma * x0}
    return {k: v.to(dtype) for k, v in truth.items()}, (alpha * x0 + sigma * epsilon).to(dtype)


@pytest.mark.parametrize("name", sorted(SCHEDULES))
@pytest.mark.parametrize(("native", "wanted"), list(product(KINDS, KINDS)))
def test_every_conversion_gives_the_true_value_at_every_timestep(name, native, wanted):
    schedule = make_schedule(name, 1000)
    t = torch.arange(0, 1000, 37)  # 999 is among them
    if schedule.ends_in_pure_noise and native == "epsilon" != wanted:
        with pytest.raises(ModelError, match="alpha is zero"):
            predict(Oracle(native, known(schedule, t)[0]), schedule, wanted, known(schedule, t)[1], t)
        t = t[:-1]
    truth, x_t = known(schedule, t)
    found = predict(Oracle(native, truth), schedule, wanted, x_t, t)
    assert torch.allclose(found, truth[wanted], rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", sorted(SCHEDULES))
@pytest.mark.parametrize("kind", KINDS)
def test_the_target_of_training_is_what_an_oracle_says(name, kind):
    schedule = make_schedule(name, 1000)
    t = torch.arange(0, 1000, 37)
    truth, _ = known(schedule, t)
    assert torch.equal(training_target(schedule, kind, truth["x0"], truth["epsilon"], t), truth[kind])


@pytest.mark.parametrize("native", KINDS)
def test_an_estimate_is_consistent_with_what_was_seen_in_float32(native):
    schedule = make_schedule("linear", 1000)
    t = torch.arange(0, 1000, 37)
    truth, x_t = known(schedule, t, torch.float32)
    guess = estimate(Oracle(native, truth), schedule, x_t, t)
    assert guess.x0.dtype == torch.float32
    assert torch.allclose(add_noise(schedule, guess.x0, guess.epsilon, t), x_t, atol=1e-5)


@pytest.mark.parametrize(
    ("native", "wanted", "alpha"),
    [("epsilon", "x0", 0.0), ("epsilon", "v", 0.0), ("x0", "epsilon", 1.0), ("x0", "v", 1.0)],
)
def test_division_by_zero_is_refused_with_advice(native, wanted, alpha):
    x = torch.zeros(1, 1, 2, 2)
    a = torch.tensor([alpha], dtype=torch.float64)
    with pytest.raises(ModelError, match="predicts v"):
        convert(x, native, wanted, x, a, (1 - a**2).sqrt())


@pytest.mark.parametrize(("wanted", "alpha"), [("epsilon", 0.0), ("x0", 0.0), ("epsilon", 1.0), ("x0", 1.0)])
def test_v_is_never_undetermined(wanted, alpha):
    x = torch.ones(1, 1, 2, 2)
    a = torch.tensor([alpha], dtype=torch.float64)
    assert torch.isfinite(convert(x, "v", wanted, x, a, (1 - a**2).sqrt())).all()


def test_a_network_with_extra_channels_is_refused():
    schedule = make_schedule("linear", 100)
    x = torch.zeros(2, 1, 4, 4)
    wide = Oracle("epsilon", {"epsilon": torch.zeros(2, 2, 4, 4)})
    with pytest.raises(ModelError, match=r"\(2, 2, 4, 4\)"):
        estimate(wide, schedule, x, torch.zeros(2, dtype=torch.int64))
