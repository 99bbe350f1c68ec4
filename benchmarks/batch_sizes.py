"""How far the batch size moves an image: ``python benchmarks/batch_sizes.py --model demo --samples 448``.

Every sample depends on its own seed alone, but floating-point sums depend on how a kernel blocks its work. This prints
the largest difference of a float pixel in [-1, 1] and the number of stored grey levels that change.
"""

from __future__ import annotations

import argparse

import torch

from ldm_eval.api import SamplingSettings
from ldm_eval.diffusion.quantise import to_uint8
from ldm_eval.hooks.catalogue import Catalogue
from ldm_eval.run.generate import make_requests
from ldm_eval.run.models import load_model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="demo")
    parser.add_argument("--samples", type=int, default=448)
    parser.add_argument("--sampler", default="")
    parser.add_argument("--steps", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    model = load_model(given.model, "", "cpu", Catalogue.discover()).model
    settings = model.resolve(SamplingSettings(given.sampler, given.steps))
    requests = make_requests(given.samples, 0, settings)

    def sampled(batch: int) -> torch.Tensor:
        parts = [model.generate(requests[i : i + batch]).pixels for i in range(0, len(requests), batch)]
        return torch.cat(parts)

    reference = sampled(64)
    print(
        f"{given.model}: {settings.sampler}, {settings.steps} steps, {given.samples} samples, {given.threads} threads"
    )
    for batch in (1, 7, 64):
        pixels = sampled(batch)
        worst = float((pixels - reference).abs().max())
        levels = int((to_uint8(pixels) != to_uint8(reference)).sum())
        print(f"batch {batch:2d} against 64: worst {worst:.1e}, {levels} of {reference.numel()} grey levels change")


if __name__ == "__main__":
    main()
