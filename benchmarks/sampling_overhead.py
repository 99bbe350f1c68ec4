"""What the sampling loop costs beside the network: ``generate`` against the bare network calls it makes.

Run: ``OMP_NUM_THREADS=2 OMP_WAIT_POLICY=PASSIVE python benchmarks/sampling_overhead.py [--rounds 11] [--steps 4]``

Both sides take turns in one process. *Bare* is the same network, in the same layout, called as often as the sampler
calls it on a ready tensor, in inference mode: no noise, no schedule, no arithmetic. ``generate`` is the public call,
from requests to images: one generator per sample, the noise of every step, the conversions, the update. Four numbers
say what the difference is: the medians of the paired ratios of time and of processor time (of all threads; with
``PASSIVE`` a waiting thread uses none, so other work on the machine shows less), the quickest run of each side against
that of the other, and the share of the time of ``generate`` that is not spent inside the network, which other work
hardly touches.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from ldm_eval_native.backend import load_model
from ldm_eval_native.checkpoint import Checkpoint, save_checkpoint
from ldm_eval_native.unet import UNet, UNetConfig

from ldm_eval.api import LoadedModel, SampleRequest, SamplingSettings, TrainingRecord
from ldm_eval.diffusion.randomness import sample_seed

BATCH = 64
FAMILIES = ("ddpm", "ddim", "dpm-solver++", "heun")


@dataclass(frozen=True, slots=True)
class Size:
    """One network: what it is called in the table, the shape of x_t, the architecture."""

    name: str
    shape: tuple[int, int, int]
    config: UNetConfig


SIZES = (
    Size("1×28×28, 32 channels", (1, 28, 28), UNetConfig(1, channels=32)),
    Size("3×32×32, 64 channels", (3, 32, 32), UNetConfig(3, channels=64)),
    Size("4×8×8, 64 channels", (4, 8, 8), UNetConfig(4, channels=64)),
)


@dataclass(frozen=True, slots=True)
class Overhead:
    """Of one sampler: paired ratios generate / bare, and the shares of ``generate`` outside the network."""

    calls: int
    seconds: float
    wall: list[float]
    processor: list[float]
    quickest: float
    outside: list[float]


@dataclass(frozen=True, slots=True)
class Seconds:
    """What one run took."""

    wall: float
    processor: float


def random_network(config: UNetConfig) -> UNet:
    """No weight is zero, as in a trained network."""
    network = UNet(config).eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    for value in network.state_dict().values():
        fan = value[0].numel() if value.ndim > 1 else 100
        value.copy_(torch.randn(value.shape, generator=generator) * fan**-0.5)
    return network


def load(size: Size, folder: Path) -> LoadedModel:
    """The network as a user has it: from a checkpoint file."""
    record = TrainingRecord("", "", 0, "", 0, False, 0)
    weights = random_network(size.config).state_dict()
    file = folder / "model.pt"
    save_checkpoint(file, Checkpoint(size.config, "linear", weights, size.shape, record, SamplingSettings("ddim", 10)))
    return load_model(file, "cpu")


def requests(settings: SamplingSettings) -> list[SampleRequest]:
    return [SampleRequest(i, sample_seed(0, i), settings) for i in range(BATCH)]


def bare(network: UNet, shape: tuple[int, int, int], calls: int) -> Callable[[], object]:
    x = torch.randn((BATCH, *shape)).to(memory_format=torch.channels_last)
    times = [torch.full((BATCH,), t) for t in torch.linspace(999, 0, calls).long().tolist()]

    @torch.inference_mode()
    def run() -> None:
        for t in times:
            network(x, t)

    return run


def timed(run: Callable[[], object]) -> Seconds:
    start, busy = time.perf_counter(), time.process_time()
    run()
    return Seconds(time.perf_counter() - start, time.process_time() - busy)


@dataclass(slots=True)
class Watch:
    """The forward passes seen: how long each took, and the network of the last."""

    seconds: list[float] = field(default_factory=list)
    network: UNet | None = None


@contextmanager
def watched() -> Iterator[Watch]:
    """See every forward pass of a U-Net."""
    watch = Watch()
    forward = UNet.forward

    def timed_forward(self: UNet, *args: torch.Tensor | None) -> torch.Tensor:
        start = time.perf_counter()
        output = forward(self, *args)  # type: ignore[arg-type]
        watch.seconds.append(time.perf_counter() - start)
        watch.network = self
        return output

    UNet.forward = timed_forward  # type: ignore[assignment,method-assign]
    try:
        yield watch
    finally:
        UNet.forward = forward  # type: ignore[method-assign]


def measure(size: Size, sampler: str, steps: int, rounds: int, folder: Path) -> Overhead:
    """``rounds`` pairs, each in the other order than the one before, after one of each to warm up."""
    model = load(size, folder)
    settings = SamplingSettings(sampler, steps)
    calls = model.network_calls(settings)
    wanted = requests(settings)

    def ours() -> None:
        model.generate(wanted)

    with watched() as first:
        ours()
    if first.network is None:
        raise SystemExit("generate did not call its network.")
    theirs = bare(first.network, size.shape, calls)
    theirs()
    pairs, outside = [], []
    for i in range(rounds):
        with watched() as watch:
            if i % 2:
                mine, peer = timed(ours), timed(theirs)
                network_only = sum(watch.seconds[:calls])
            else:
                peer, mine = timed(theirs), timed(ours)
                network_only = sum(watch.seconds[calls:])
        pairs.append((mine, peer))
        outside.append(1 - network_only / mine.wall)
    return Overhead(
        calls,
        statistics.median(mine.wall for mine, _ in pairs),
        [mine.wall / peer.wall for mine, peer in pairs],
        [mine.processor / peer.processor for mine, peer in pairs],
        min(mine.wall for mine, _ in pairs) / min(peer.wall for _, peer in pairs),
        outside,
    )


def spread(values: list[float]) -> str:
    low, middle, high = statistics.quantiles(values, n=4)
    return f"{middle:.1%} ({low:.1%} to {high:.1%})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--only", default="", help="part of a size's or a sampler's name")
    given = parser.parse_args()
    print(
        f"{torch.get_num_threads()} threads, batch {BATCH}, {given.steps} steps, {given.rounds} rounds; "
        "median (quartiles)"
    )
    heads = ("network", "sampler", "calls", "seconds", "time", "processor time", "quickest", "outside the network")
    print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    with TemporaryDirectory() as folder:
        for size in SIZES:
            for sampler in FAMILIES:
                if given.only and given.only not in f"{size.name} {sampler}":
                    continue
                found = measure(size, sampler, given.steps, given.rounds, Path(folder))
                ratios = [spread([ratio - 1 for ratio in each]) for each in (found.wall, found.processor)]
                cells = (size.name, sampler, found.calls, f"{found.seconds:.2f}", *ratios, f"{found.quickest - 1:.1%}")
                print(f"| {' | '.join(map(str, cells))} | {spread(found.outside)} |", flush=True)


if __name__ == "__main__":
    main()
