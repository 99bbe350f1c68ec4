"""The loop around the network must not cost: ``generate`` against the bare calls of the same network, in turns.

``benchmarks/sampling_overhead.py`` measures more sizes, and docs/performance.md says what it found (below 2 %
of the time is spent outside the network). The limit here leaves room for a machine that does other things.
"""

import statistics
import time

import pytest
import torch
from ldm_eval_native.backend import load_model
from ldm_eval_native.checkpoint import Checkpoint, save_checkpoint
from ldm_eval_native.unet import UNet, UNetConfig

from ldm_eval.api import SampleRequest, SamplingSettings, TrainingRecord
from ldm_eval.diffusion.randomness import sample_seed

BATCH, STEPS = 64, 3
FEWEST, MOST = 4, 12  # rounds; other work on the machine makes runs slower, never faster, so it is waited out
LIMIT = 0.10
WORK = 0.25  # of processor time, which the machine's other work moves less than wall time, but moves
PIXELS, LATENTS = ((1, 28, 28), 32), ((4, 8, 8), 64)  # shape of x_t, channels of the network


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def timed(run):
    """Seconds that passed, and seconds that the processor worked."""
    start, worked = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - start, time.process_time() - worked


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sampler", "size"),
    [("ddpm", PIXELS), ("ddpm", LATENTS), ("ddim", LATENTS), ("dpm-solver++", LATENTS), ("heun", LATENTS)],
)
def test_sampling_takes_the_time_of_its_network_calls(sampler, size, two_threads, tmp_path, monkeypatch):
    shape, channels = size
    config = UNetConfig(shape[0], channels=channels)
    network = UNet(config).eval().requires_grad_(False).to(memory_format=torch.channels_last)
    generator = torch.Generator().manual_seed(0)
    for value in network.state_dict().values():  # no zeros, as after training
        value.copy_(0.05 * torch.randn(value.shape, generator=generator))
    record = TrainingRecord("", "", 0, "", 0, False, 0)
    path = tmp_path / "model.pt"
    save_checkpoint(
        path, Checkpoint(config, "linear", network.state_dict(), shape, record, SamplingSettings("ddim", 10))
    )
    model = load_model(path, "cpu")
    settings = SamplingSettings(sampler, STEPS)
    requests = [SampleRequest(i, sample_seed(0, i), settings) for i in range(BATCH)]
    x = torch.randn((BATCH, *shape), generator=generator).to(memory_format=torch.channels_last)
    t = torch.full((BATCH,), 500)

    forward, inside = UNet.forward, []

    def watched(self, *args):
        start = time.perf_counter()
        output = forward(self, *args)
        inside.append(time.perf_counter() - start)
        return output

    monkeypatch.setattr(UNet, "forward", watched)
    calls = model.network_calls(settings)

    @torch.inference_mode()
    def bare():
        for _ in range(calls):
            network(x, t)

    model.generate(requests)
    bare()
    shares, ours, peers = [], [], []
    while len(ours) < FEWEST or (len(ours) < MOST and min(ours) > (1 + WORK) * min(peers)):
        inside.clear()
        passed, worked = timed(lambda: model.generate(requests))
        assert len(inside) == calls
        shares.append(1 - sum(inside) / passed)
        ours.append(worked)
        peers.append(timed(bare)[1])
    assert statistics.median(shares) < LIMIT  # not spent in the network
    assert min(ours) < (1 + WORK) * min(peers)  # and the network works no more in the loop than alone
