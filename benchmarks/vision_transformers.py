"""Images per second of DINOv2 and CLIP in several micro-batches, beside Hugging Face's implementation, interleaved.

    python benchmarks/vision_transformers.py --threads 2 --images 32 --rounds 5 --micro-batches 1 2 4 8 16

Weights do not change the time and are random, the same for both. The peer gets images that are ready, ours resizes them
too. Printed are the median over rounds and, for each way, the median of its ratio to the peer in the same round.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from ldm_eval_features import vit_recipes
from ldm_eval_features.clip import Clip
from ldm_eval_features.extractor import Recipe, build
from ldm_eval_features.weights import StateDict

RECIPES = {
    recipe.name: recipe
    for recipe in (
        vit_recipes.DINOV2_VITS14,
        vit_recipes.DINOV2_VITB14,
        vit_recipes.DINOV2_VITL14,
        vit_recipes.CLIP_VIT_B32,
        vit_recipes.CLIP_VIT_L14,
        vit_recipes.CLIP_VIT_L14_336,
    )
}


def random_state(recipe: Recipe) -> StateDict:
    with torch.device("meta"):
        shapes = {name: value.shape for name, value in recipe.network().state_dict().items()}
    generator = torch.Generator().manual_seed(0)
    return StateDict(
        {name: torch.randn(shape, generator=generator) * 0.02 for name, shape in shapes.items()}, published=False
    )


def peer(recipe: Recipe) -> Callable[[torch.Tensor], Any]:
    """Hugging Face's network of the same size."""
    import transformers

    with torch.device("meta"):
        ours = recipe.network()
    of = ours._architecture
    if isinstance(ours, Clip):
        config = transformers.CLIPVisionConfig(
            hidden_size=of.width,
            intermediate_size=4 * of.width,
            num_hidden_layers=of.depth,
            num_attention_heads=of.width // of.head,
            image_size=of.size,
            patch_size=of.patch,
            projection_dim=of.dimension,
        )
        network = transformers.CLIPVisionModelWithProjection(config).eval()
    else:
        network = transformers.Dinov2Model(
            transformers.Dinov2Config(
                hidden_size=of.width,
                num_hidden_layers=of.depth,
                num_attention_heads=of.heads,
                image_size=224,
                patch_size=14,
            )
        ).eval()
    return lambda images: network(pixel_values=images)


def measure(name: str, args: argparse.Namespace) -> None:
    recipe = RECIPES[name]
    state = random_state(recipe)
    pixels = np.random.default_rng(0).integers(0, 256, (args.images, 3, args.side, args.side), dtype=np.uint8)
    ready = recipe.preprocessing(torch.from_numpy(pixels))
    theirs = peer(recipe)
    ways: dict[str, Callable[[], object]] = {"peer": lambda: theirs(ready), "resize": lambda: resized(recipe, pixels)}
    for size in args.micro_batches:
        extractor = build(dataclasses.replace(recipe, micro_batch=size), state, "cpu")
        ways[f"micro-batch {size}"] = lambda extractor=extractor: extractor.extract(pixels)  # type: ignore[misc]
    times: dict[str, list[float]] = {way: [] for way in ways}
    with torch.inference_mode():
        for round_ in range(args.rounds + 1):
            for way, run in ways.items():
                start = time.perf_counter()
                run()
                if round_:  # the first warms up
                    times[way].append(time.perf_counter() - start)
    for way, seconds in times.items():
        ratio = statistics.median(base / own for base, own in zip(times["peer"], seconds, strict=True))
        print(
            f"{name:18s} {way:16s} {args.images / statistics.median(seconds):9.1f} images/s   x{ratio:.2f}", flush=True
        )


def resized(recipe: Recipe, pixels: np.ndarray[Any, Any]) -> torch.Tensor:
    return recipe.preprocessing(torch.from_numpy(pixels))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--micro-batches", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    parser.add_argument("--only", nargs="+", default=["dinov2-vits14", "dinov2-vitb14", "clip-vit-b32"])
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    for name in args.only:
        measure(name, args)


if __name__ == "__main__":
    main()
