import itertools

import pytest
import torch

from ldm_eval.diffusion.schedules import SCHEDULES, linear_schedule, make_schedule
from ldm_eval.diffusion.spacing import SPACINGS, karras_timesteps, uniform_timesteps


def noise_to_signal(schedule, timesteps):
    index = torch.tensor(timesteps)
    return schedule.sigma(index) / schedule.alpha(index)


@pytest.mark.parametrize("schedule", sorted(SCHEDULES))
@pytest.mark.parametrize("total", [25, 1000])
@pytest.mark.parametrize("spacing", sorted(SPACINGS))
def test_timesteps_fall_strictly_from_the_noisiest_to_zero_for_every_number_of_steps(spacing, total, schedule):
    schedule = make_schedule(schedule, total)
    for steps in {*range(1, 26), total // 3, total // 2, total - 1, total}:
        visited = SPACINGS[spacing](schedule, steps)
        assert len(visited) == steps
        assert all(before > after for before, after in itertools.pairwise(visited))
        assert visited[0] == total - 1
        assert steps == 1 or visited[-1] == 0


def test_karras_levels_follow_their_formula():
    schedule = linear_schedule(100_000)
    level = noise_to_signal(schedule, karras_timesteps(schedule, 18))
    high, low = (float(level[i]) ** (1 / 7) for i in (0, -1))
    expected = torch.tensor([(high + i / 17 * (low - high)) ** 7 for i in range(18)])
    # The grid is coarse at its low end: sigma/alpha goes .001, .0014, .0017, ...
    assert (level / expected).log().abs().max() < 0.1
    assert (level / expected).log().abs()[:12].max() < 1e-3


def test_karras_visits_low_noise_more_often():
    schedule = linear_schedule(1000)
    assert sum(t < 100 for t in karras_timesteps(schedule, 20)) > 2 * sum(
        t < 100 for t in uniform_timesteps(schedule, 20)
    )


@pytest.mark.parametrize("name", ["cosine", "zero-terminal-snr"])
def test_levels_that_are_nothing_but_noise_are_left_in_one_step(name):
    schedule = make_schedule(name, 1000)
    level = noise_to_signal(schedule, karras_timesteps(schedule, 20))
    assert level[0] > 1000
    assert 80 < level[1] < 240
