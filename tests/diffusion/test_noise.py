import torch

from ldm_eval.diffusion.noise import SampleNoise
from ldm_eval.diffusion.randomness import sample_seed

SEEDS = [sample_seed(7, i) for i in range(64)]


def draws(seeds, shape=(1, 5, 3), times=3):
    noise = SampleNoise(seeds)
    return torch.stack([noise.draw(shape) for _ in range(times)], dim=1)


def test_noise_of_a_sample_does_not_depend_on_its_batch():
    whole = draws(SEEDS)
    singles = torch.cat([draws([seed]) for seed in SEEDS])
    sevens = torch.cat([draws(SEEDS[i : i + 7]) for i in range(0, 64, 7)])
    reversed_order = draws(SEEDS[::-1]).flip(0)
    for other in (singles, sevens, reversed_order):
        assert torch.equal(whole, other)


def test_noise_is_standard_normal_and_successive_draws_differ():
    noise = SampleNoise(SEEDS)
    first, second = noise.draw((3, 32, 32)), noise.draw((3, 32, 32))
    n = first.numel()
    assert first.dtype == torch.float32
    assert abs(first.mean()) < 4 / n**0.5
    assert abs(first.var() - 1) < 4 * (2 / n) ** 0.5
    assert abs((first * second).mean()) < 4 / n**0.5


def test_global_generator_is_left_alone():
    before = torch.random.get_rng_state()
    SampleNoise(SEEDS).draw((1, 8, 8))
    assert torch.equal(before, torch.random.get_rng_state())
