"""Known answer: what the network predicts is a matter of taste. Every sampler, every schedule, the same images."""

import itertools

import pytest
import torch

from ldm_eval.api import SamplingSettings
from ldm_eval.diffusion.noise import SampleNoise
from ldm_eval.diffusion.samplers import SAMPLERS, make_sampler
from ldm_eval.diffusion.schedules import SCHEDULES, make_schedule
from ldm_eval.testing.denoisers import GaussianDenoiser

TOLERANCE = {torch.float64: 1e-11, torch.float32: 5e-6}
FROM_EPSILON = 2e-4
"""In float32 from the end of the cosine schedule, where its rounding is divided by alpha = 5e-5."""


class TypedNoise:
    """SampleNoise in another type, to part rounding from mathematics."""

    device = torch.device("cpu")

    def __init__(self, dtype):
        self.noise, self.dtype = SampleNoise([1, 2]), dtype

    def __len__(self):
        return len(self.noise)

    def draw(self, shape):
        return self.noise.draw(shape).to(self.dtype)


def apart(name, schedule, dtype):
    """Largest difference of the images of each prediction from those of v; epsilon only where it can be used."""
    schedule, sampler = make_schedule(schedule, 1000), make_sampler(SamplingSettings(name, 20))
    kinds = ("v", "x0") if schedule.ends_in_pure_noise else ("v", "x0", "epsilon")
    images = {}
    for kind in kinds:
        exact = GaussianDenoiser(torch.full((1, 8, 8), 0.4), 0.25, schedule, kind)
        images[kind] = sampler.sample(exact, schedule, TypedNoise(dtype), (1, 8, 8))
    return {kind: float((images[kind] - images["v"]).abs().max()) for kind in kinds[1:]}


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("schedule", sorted(SCHEDULES))
@pytest.mark.parametrize("name", sorted(SAMPLERS))
def test_every_prediction_gives_the_same_images(name, schedule, dtype):
    for kind, difference in apart(name, schedule, dtype).items():
        divided = kind == "epsilon" and schedule == "cosine" and dtype is torch.float32
        assert difference < (FROM_EPSILON if divided else TOLERANCE[dtype])


def main():
    """Print the largest differences: ``python tests/diffusion/test_predictions_agree.py``."""
    for schedule, dtype in itertools.product(sorted(SCHEDULES), TOLERANCE):
        worst = {}
        for name in SAMPLERS:
            for kind, difference in apart(name, schedule, dtype).items():
                worst[kind] = max(worst.get(kind, 0.0), difference)
        print(f"{schedule:18s} {dtype}: {', '.join(f'{kind} {value:.1e}' for kind, value in worst.items())}")


if __name__ == "__main__":
    main()
