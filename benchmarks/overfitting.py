"""What longer training on fewer images does: bound, membership and near copies of real trained networks.

Run: ``OMP_NUM_THREADS=2 python benchmarks/overfitting.py`` for everything that
``docs/checks/privacy-membership-loss.md`` shows, or one series with ``--images 64 --steps 64 256 1024``.

Networks of our trainer on the 8×8 digits of scikit-learn (UCI, optical recognition; needs the extra ``examples``). A
series is one training, looked at on its way: each length resumes the one before. The last 512 of the shuffled digits
are never trained on.

- *Bound*: the whole variational bound in bits per dimension, discretised decoder, T network calls an image, the same
  noises for every set and model. Intervals: normal, over images.
- *Membership*: AUC of the denoising loss at one noise level fixed beforehand (0.1 of T), so that no image is spent on
  choosing it. DeLong or Newcombe, as the check.
- *Near copies*: what ``privacy/near_copies`` says of 512 samples: the excess over held-out images.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from ldm_eval_native.backend import load_model
from ldm_eval_native.trainer import NativeTrainer
from ldm_eval_privacy.denoising_loss import score
from ldm_eval_privacy.near_copies import NearCopies
from numpy.typing import NDArray

from ldm_eval.api import (
    DiffusionParts,
    ImageSet,
    Interval,
    LoadedModel,
    Measurement,
    Role,
    SampleRequest,
    SamplingSettings,
    Scalar,
    TrainRequest,
)
from ldm_eval.diffusion.likelihood import variational_bound
from ldm_eval.diffusion.noise import SampleNoise
from ldm_eval.diffusion.quantise import to_float, to_uint8
from ldm_eval.diffusion.randomness import sample_seed
from ldm_eval.stats.roc import auc_interval
from ldm_eval.testing.evidence import PhantomEvidence, image_set

Pixels = NDArray[np.uint8]

HOLDOUT = 512
JUDGED = 256
SAMPLES = 512
LEVEL = "0.1"
OPTIONS: dict[str, Scalar] = {
    "channels": 32,
    "multipliers": "1,2",
    "blocks": 1,
    "timesteps": 200,
    "ema_decay": 0.99,
    "warmup": 100,
}
SERIES = (
    (64, (64, 256, 1024, 4096)),
    (128, (1024,)),
    (256, (1024,)),
    (512, (256, 1024)),
    (900, (64, 256, 1024, 4096)),
)


@dataclass(frozen=True, slots=True)
class Bits:
    """A mean over images in bits per dimension, and half the width of its 95 % interval."""

    mean: float
    half: float

    def __str__(self) -> str:
        return f"{self.mean:.3f} ± {self.half:.3f}"


def digits() -> Pixels:
    from sklearn.datasets import load_digits

    pixels = np.rint(load_digits().images * 255 / 16).astype(np.uint8)[:, None]
    order = np.random.default_rng(0).permutation(len(pixels))
    return np.asarray(pixels[order], dtype=np.uint8)


def train(training: ImageSet, steps: int, output: Path) -> LoadedModel:
    request = TrainRequest(
        data=training,
        data_ref=training.name,
        holdout=None,
        holdout_ref="",
        output=output,
        steps=steps,
        batch_size=32,
        learning_rate=2e-3,
        seed=0,
        device="cpu",
        resume=True,
        options={**OPTIONS, "save_every": 10**6},
    )
    NativeTrainer().train(request, lambda progress: None)
    return load_model(output, "cpu")


def bits(values: NDArray[np.float64]) -> Bits:
    return Bits(float(values.mean()), 1.96 * float(values.std(ddof=1)) / math.sqrt(len(values)))


def bounds(parts: DiffusionParts, pixels: Pixels) -> NDArray[np.float64]:
    noise = SampleNoise([sample_seed(1, i) for i in range(len(pixels))])
    with torch.inference_mode():
        found = variational_bound(parts.denoiser, parts.schedule, to_float(pixels), noise)
    return found.total.numpy()


def losses(parts: DiffusionParts, pixels: Pixels) -> NDArray[np.float64]:
    found = score(parts, to_float(pixels), 0, {"noises": 8, "levels": LEVEL})
    return found[:, 0].astype(np.float64)


def samples(model: LoadedModel) -> Pixels:
    settings = SamplingSettings("ddim", 50)
    wanted = [SampleRequest(i, sample_seed(0, i), settings) for i in range(SAMPLES)]
    return np.concatenate([to_uint8(model.generate(wanted[i : i + 64]).pixels).numpy() for i in range(0, SAMPLES, 64)])


def copies(made: Pixels, training: ImageSet, holdout: ImageSet) -> Measurement:
    images: dict[Role, ImageSet] = {"samples": image_set(made, "samples"), "training": training, "holdout": holdout}
    found = NearCopies().run(PhantomEvidence("privacy/near_copies", 0, images=images))
    if not isinstance(found, Sequence):
        raise SystemExit(f"Near copies: {found}")
    return next(each for each in found if isinstance(each, Measurement) and each.name == "near_copy_excess")


def between(value: float, interval: Interval) -> str:
    return f"{value:.3f} ({interval.low:.3f} to {interval.high:.3f})"


def row(model: LoadedModel, training: ImageSet, holdout: ImageSet, steps: int) -> str:
    parts = model.white_box()
    if parts is None:
        raise SystemExit("A trained network shows its inside.")
    seen, unseen = training.pixels[:JUDGED], holdout.pixels[:JUDGED]
    inside, outside = bounds(parts, seen), bounds(parts, unseen)
    gap = Bits(outside.mean() - inside.mean(), math.hypot(bits(inside).half, bits(outside).half))
    attack = auc_interval(-losses(parts, seen), -losses(parts, holdout.pixels))
    excess = copies(samples(model), training, holdout)
    cells = (
        len(training),
        steps,
        bits(inside),
        bits(outside),
        gap,
        between(attack.value, attack.interval),
        between(excess.value, excess.interval),
    )
    return f"| {' | '.join(map(str, cells))} |"


def series(pixels: Pixels, images: int, lengths: Sequence[int], folder: Path) -> None:
    training = image_set(pixels[:images], f"digits, {images} of them", "train")
    holdout = image_set(pixels[-HOLDOUT:], "digits held out", "holdout")
    for steps in lengths:
        start = time.perf_counter()
        model = train(training, steps, folder / f"{images}.pt")
        line = row(model, training, holdout, steps)
        print(f"{line} <!-- {time.perf_counter() - start:.0f} s -->", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int)
    parser.add_argument("--steps", type=int, nargs="+")
    given = parser.parse_args()
    wanted = SERIES if given.images is None else ((given.images, given.steps),)
    print(
        "| images | steps | bound, training | bound, held out | gap | membership AUC | excess of near copies |\n"
        "|---|---|---|---|---|---|---|"
    )
    with TemporaryDirectory() as folder:
        for images, lengths in wanted:
            series(digits(), images, lengths, Path(folder))


if __name__ == "__main__":
    main()
