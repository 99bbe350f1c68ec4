"""Known answer: what the network predicts is a matter of taste. Every sampler, every schedule, the same images."""

import itertools

import pytest
import torch

from ldm_eval.diffusion.samplers import SAMPLERS
from ldm_eval.diffusion.schedules import SCHEDULES, make_schedule
from ldm_eval.testing.diffusion_instruments import largest_difference_of_images, predictions_of

TOLERANCE = {torch.float64: 1e-11, torch.float32: 5e-6}
FROM_EPSILON = 2e-4
"""In float32 from the end of the cosine schedule, where its rounding is divided by alpha = 5e-5."""


def apart(name, schedule, dtype):
    """Largest difference of the images of each prediction from those of v; epsilon only where it can be used."""
    schedule = make_schedule(schedule, 1000)
    kinds = predictions_of(schedule)[1:]
    return {kind: largest_difference_of_images(name, schedule, kind, dtype) for kind in kinds}


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
