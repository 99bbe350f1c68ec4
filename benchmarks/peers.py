"""Our quality suite beside other tools' FID: the same images, the same weights, one run, each in a process of its own.

    pip install --no-deps torchvision pytorch-fid torch-fidelity clean-fid && pip install requests tqdm
    taskset -c 0,1 python benchmarks/peers.py --images 1000 --rounds 1

Peers take the Fréchet distance alone (torch-fidelity a second time with KID, IS and precision/recall); ours takes the
Fréchet and kernel distances, the Inception score, precision, recall, density and coverage, all with intervals, from
PNG files to results.json and the card. Weights are random: they do not change the time. ``network`` is the time inside
the Inception network, ``statistics`` that of the distances, ``rest`` decoding, resizing, start-up and everything else.
Features of ours and of torch-fidelity, which resizes as TensorFlow 1 did, are compared at the end.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

THREADS = 2
CHECKS = ("frechet_distance", "kernel_distance", "inception_score", "precision_recall")


class Clock:
    """Seconds spent inside wrapped functions, by what they do."""

    def __init__(self) -> None:
        self.spent = {"network": 0.0, "statistics": 0.0}

    def wrap(self, owner: Any, name: str, kind: str) -> None:
        """Count the time of ``owner.name`` as ``kind``."""
        inner = getattr(owner, name)

        def timed(*args: Any, **kwargs: Any) -> Any:
            begun = time.perf_counter()
            try:
                return inner(*args, **kwargs)
            finally:
                self.spent[kind] += time.perf_counter() - begun

        setattr(owner, name, timed)


def let_torchvision_be_imported() -> None:
    """Its compiled operators do not fit every torch; nothing here calls them."""
    import torch

    library = torch.library.Library("torchvision", "DEF")
    for operator in ("nms(Tensor dets, Tensor scores, float iou) -> Tensor", "qnms(Tensor dets) -> Tensor"):
        library.define(operator)
    globals()["_library"] = library  # it must live as long as torchvision


def pytorch_fid(folder: Path, clock: Clock) -> None:
    let_torchvision_be_imported()
    import torch
    from pytorch_fid import fid_score, inception

    inception.load_state_dict_from_url = lambda *_, **__: torch.load(folder / "weights.pt", weights_only=True)
    clock.wrap(inception.InceptionV3, "forward", "network")
    clock.wrap(fid_score, "calculate_frechet_distance", "statistics")
    fid_score.calculate_fid_given_paths([str(folder / "a"), str(folder / "b")], 50, "cpu", 2048, num_workers=0)


def clean_fid(folder: Path, clock: Clock) -> None:
    let_torchvision_be_imported()
    import torch
    from cleanfid import fid
    from pytorch_fid import inception

    inception.load_state_dict_from_url = lambda *_, **__: torch.load(folder / "weights.pt", weights_only=True)
    network = inception.InceptionV3([3], resize_input=False, normalize_input=False).eval()
    clock.wrap(inception.InceptionV3, "forward", "network")
    clock.wrap(fid, "frechet_distance", "statistics")

    def features(images: Any) -> Any:
        with torch.no_grad():
            return network((images - 128) / 128)[0].flatten(1)

    fid.compute_fid(
        str(folder / "a"),
        str(folder / "b"),
        mode="clean",
        num_workers=0,
        device=torch.device("cpu"),
        custom_feat_extractor=features,
        use_dataparallel=False,
        verbose=False,
    )


def torch_fidelity(folder: Path, clock: Clock, everything: bool = False) -> None:
    let_torchvision_be_imported()
    import torch_fidelity as peer
    from torch_fidelity import feature_extractor_inceptionv3 as network
    from torch_fidelity import metric_fid, metrics

    clock.wrap(network.FeatureExtractorInceptionV3, "forward", "network")
    clock.wrap(metric_fid, "fid_statistics_to_metric", "statistics")
    for name in ("isc_featuresdict_to_metric", "kid_featuresdict_to_metric", "prc_featuresdict_to_metric"):
        clock.wrap(metrics, name, "statistics")
    peer.calculate_metrics(
        input1=str(folder / "a"),
        input2=str(folder / "b"),
        cuda=False,
        fid=True,
        isc=everything,
        kid=everything,
        prc=everything,
        feature_extractor="inception-v3-compat",
        feature_layer_prc="2048",
        kid_subset_size=min(1000, len(list((folder / "a").iterdir()))),
        feature_extractor_weights_path=str(folder / "weights.pt"),
        save_cpu_ram=True,
        cache=False,
        verbose=False,
    )


def torch_fidelity_full(folder: Path, clock: Clock) -> None:
    torch_fidelity(folder, clock, everything=True)


def torchmetrics(folder: Path, clock: Clock) -> None:
    let_torchvision_be_imported()
    import torch
    from PIL import Image
    from torchmetrics.image import fid

    clock.wrap(fid.NoTrainInceptionV3, "forward", "network")
    clock.wrap(fid, "_compute_fid", "statistics")
    metric = fid.FrechetInceptionDistance(feature_extractor_weights_path=str(folder / "weights.pt"))
    for name, real in (("a", False), ("b", True)):
        files = sorted((folder / name).iterdir())
        for start in range(0, len(files), 50):
            images = [np.asarray(Image.open(file)) for file in files[start : start + 50]]
            metric.update(torch.from_numpy(np.stack(images).transpose(0, 3, 1, 2)), real=real)
    metric.compute()


def ours(folder: Path, clock: Clock) -> None:
    from ldm_eval_features.inception import Inception2015

    import ldm_eval
    from ldm_eval.run import pipeline
    from ldm_eval.run.tuning import tune_process

    tune_process()
    clock.wrap(Inception2015, "forward", "network")
    clock.wrap(pipeline, "run_checks", "statistics")
    output = folder / f"out-{time.time_ns()}"
    ldm_eval.evaluate(
        model=str(folder / "a"),
        reference=str(folder / "b"),
        suite=[f"quality/{check}" for check in CHECKS],
        extractor="inception-2015",
        extractor_weights=str(folder / "weights.pt"),
        threads=THREADS,
        device="cpu",
        offline=True,
        output=str(output),
        cache_dir=str(output / "cache"),
    )


TOOLS: dict[str, Callable[[Path, Clock], None]] = {
    "ours, whole suite": ours,
    "pytorch-fid": pytorch_fid,
    "clean-fid": clean_fid,
    "torch-fidelity": torch_fidelity,
    "torch-fidelity, FID KID IS P/R": torch_fidelity_full,
    "torchmetrics": torchmetrics,
}


def child(tool: str, folder: Path) -> None:
    import torch

    torch.set_num_threads(THREADS)
    clock, begun = Clock(), time.perf_counter()
    TOOLS[tool](folder, clock)
    wall = time.perf_counter() - begun
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    print("\n" + json.dumps({"wall": wall, "peak_mb": peak / 1024, **clock.spent}))


def make_inputs(folder: Path, images: int, side: int) -> None:
    """Two folders of PNG files of smooth noise, and one random state dict under the published names."""
    import torch
    from ldm_eval_features.inception import Inception2015
    from PIL import Image

    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        (folder / name).mkdir()
        for index in range(images):
            coarse = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
            Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC).save(
                folder / name / f"{index:05d}.png"
            )
    torch.manual_seed(0)
    state = Inception2015().state_dict()
    for value in state.values():
        if value.ndim > 1:
            torch.nn.init.kaiming_normal_(value)
    torch.save(state, folder / "weights.pt")


def largest_difference(folder: Path, images: int = 64) -> float:
    """Largest difference of a feature of ours and torch-fidelity's, relative to the largest feature of the image."""
    let_torchvision_be_imported()
    import torch
    from ldm_eval_features.recipes import load_inception_2015
    from PIL import Image
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    from ldm_eval.api import ExtractorContext

    pixels = np.stack([np.asarray(Image.open(file)) for file in sorted((folder / "a").iterdir())[:images]])
    pixels = pixels.transpose(0, 3, 1, 2)
    mine = load_inception_2015(ExtractorContext("cpu", True, folder, folder / "weights.pt")).extract(pixels).values
    peer = FeatureExtractorInceptionV3("peer", ["2048"], feature_extractor_weights_path=str(folder / "weights.pt"))
    with torch.no_grad():
        theirs = peer(torch.from_numpy(pixels))[0].numpy()
    return float((np.abs(mine - theirs) / np.abs(theirs).max(axis=1, keepdims=True)).max())


def run(tool: str, folder: Path) -> dict[str, float]:
    environment = {**os.environ, "OMP_NUM_THREADS": str(THREADS), "OMP_WAIT_POLICY": "PASSIVE"}
    command = [sys.executable, __file__, "--child", tool, "--folder", str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{tool}: {done.stderr[-2000:]}")
    found: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--side", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--only", nargs="*", choices=list(TOOLS), default=list(TOOLS))
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        child(given.child, given.folder)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_inputs(folder, given.images, given.side)
        rounds = [{tool: run(tool, folder) for tool in given.only} for _ in range(given.rounds)]
        print("| tool | wall (s) | network | statistics | rest | peak (MB) | wall / ours |")
        print("|---|---|---|---|---|---|---|")
        base = given.only[0]
        for tool in given.only:
            middle = {key: statistics.median(one[tool][key] for one in rounds) for key in rounds[0][tool]}
            rest = middle["wall"] - middle["network"] - middle["statistics"]
            ratio = statistics.median(one[tool]["wall"] / one[base]["wall"] for one in rounds)
            print(
                f"| {tool} | {middle['wall']:.1f} | {middle['network']:.1f} | {middle['statistics']:.1f} | {rest:.1f} "
                f"| {middle['peak_mb']:.0f} | {ratio:.2f} |"
            )
        print(f"\nLargest relative difference of a feature from torch-fidelity's: {largest_difference(folder):.1e}")


if __name__ == "__main__":
    main()
