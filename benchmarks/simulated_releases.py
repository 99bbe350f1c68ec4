"""Releases whose truth is known, put through run, checks and gate many times: how often is the verdict right?

Every repeat paints its own training and holdout portraits (400 each) and one release of each kind; sizes are the first
n images of it. A release is judged by ``ldm_eval.evaluate(..., policy=...)`` as any other would be.

    OMP_NUM_THREADS=1 python benchmarks/simulated_releases.py --repeats 20 --jobs 2
    python benchmarks/simulated_releases.py --tables                # from the committed runs; nothing is run

A repeat that is there is not run again: raise ``--repeats`` to add to ``simulated_releases.jsonl``.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from ldm_eval_demo.attributes import TONES, draw
from ldm_eval_demo.renderer import render
from ldm_eval_demo.sitters import Quotas
from numpy.typing import NDArray

import ldm_eval
from ldm_eval.api import FeatureExtractor, Features
from ldm_eval.hooks.catalogue import Catalogue
from ldm_eval.run.config import RunConfig
from ldm_eval.run.describe import machine_of
from ldm_eval.run.embed import load_extractors
from ldm_eval.run.prepare import prepare
from ldm_eval.run.progress import SilentProgress
from ldm_eval.stats.digests import image_digest
from ldm_eval.store.atomic import canonical_json
from ldm_eval.store.features import FeatureStore
from ldm_eval.testing.transforms import blurred

HERE = Path(__file__).resolve().parent
RUNS = HERE / "simulated_releases.jsonl"
POLICY, WHITE_BOX_POLICY = HERE / "simulated_releases.toml", HERE / "simulated_releases_white_box.toml"

TONE_SHARES: Final = (0.60, 0.28, 0.12)
AGE_SHARES: Final = (0.20, 0.55, 0.25)
GLASSES: Final = 0.25
REAL: Final = 400
"""Training portraits, and as many held-out ones."""

SIZES: Final = (150, 300, 600)
COPIED: Final = 0.06
BIASED_SHARES: Final = (0.75, 0.19, 0.06)
BLUR: Final = 0.7
"""Standard deviation in pixels, of 32."""

QUALITY = ("quality/frechet_distance", "quality/precision_recall")
BLACK_BOX = (*QUALITY, "privacy/near_copies", "fairness/representation")
WHITE_BOX = ("privacy/near_copies", "privacy/membership_loss")

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Portraits:
    """N painted portraits with what was painted: ``pixels (N, 3, 32, 32) uint8``, kinds ``(N,)``."""

    pixels: Pixels
    tone: NDArray[np.int64]
    age: NDArray[np.int64]
    glasses: NDArray[np.bool_]

    def replaced(self, rows: NDArray[np.bool_], others: Portraits) -> Portraits:
        """The portraits in ``rows`` exchanged for ``others``, one for one."""
        columns = {}
        for name in ("pixels", "tone", "age", "glasses"):
            column = getattr(self, name).copy()
            column[rows] = getattr(others, name)
            columns[name] = column
        return Portraits(**columns)

    def changed(self, pixels: Pixels) -> Portraits:
        """The same sitters in other pictures."""
        return Portraits(pixels, self.tone, self.age, self.glasses)


def paint(quotas: Quotas, seed: int) -> Portraits:
    """Paint sitters with exactly these counts, combined at random."""
    sitters = draw(quotas, seed)
    return Portraits(render(sitters), sitters.tone, sitters.age, sitters.glasses)


def exact_quotas(n: int) -> Quotas:
    """The declared shares to the last head, for training and holdout (n a multiple of 100)."""
    tones, ages = (tuple(round(share * n) for share in shares) for shares in (TONE_SHARES, AGE_SHARES))
    return Quotas((tones[0], tones[1], tones[2]), (ages[0], ages[1], ages[2]), round(GLASSES * n))


def drawn_quotas(
    n: int,
    rng: np.random.Generator,
    tones: Sequence[float] = TONE_SHARES,
    ages: Sequence[float] = AGE_SHARES,
    glasses: float = GLASSES,
) -> Quotas:
    """Counts of n independent draws from a law with these shares."""
    of_tone, of_age = (rng.multinomial(n, np.array(shares) / sum(shares)).tolist() for shares in (tones, ages))
    return Quotas(tuple(of_tone), tuple(of_age), int(rng.binomial(n, glasses)))


@dataclass(frozen=True, slots=True, eq=False)
class World:
    """What a repeat has: real portraits, a good model's release, and randomness of its own for each use."""

    repeat: int
    training: Portraits
    holdout: Portraits
    good: Portraits

    @classmethod
    def made(cls, repeat: int, size: int = max(SIZES), real: int = REAL) -> World:
        """Paint it; the repeat's number decides everything."""
        training, holdout = (paint(exact_quotas(real), _seed(repeat, use)) for use in (0, 1))
        good = paint(drawn_quotas(size, np.random.default_rng(_seed(repeat, 2))), _seed(repeat, 3))
        return cls(repeat, training, holdout, good)

    def rng(self, use: int) -> np.random.Generator:
        """Randomness for one use."""
        return np.random.default_rng(_seed(self.repeat, use))


def _seed(repeat: int, use: int) -> int:
    return 7_000_000 + 1_000 * repeat + use


def good(world: World) -> Portraits:
    """Fresh portraits of the law that training and holdout have."""
    return world.good


def with_copies(world: World, release: Portraits, alter: Callable[[Pixels], Pixels]) -> Portraits:
    """Each image is, with probability ``COPIED``, one of the training images, altered."""
    rng = world.rng(10)
    rows = rng.random(len(release.tone)) < COPIED
    taken = rng.integers(len(world.training.tone), size=int(rows.sum()))
    part = world.training
    return release.replaced(
        rows, Portraits(alter(part.pixels[taken]), part.tone[taken], part.age[taken], part.glasses[taken])
    )


def shifted(pixels: Pixels) -> Pixels:
    """Moved right by one pixel, the edge repeated."""
    moved = np.roll(pixels, 1, axis=3)
    moved[..., 0] = moved[..., 1]
    return moved


def leaking(world: World) -> Portraits:
    """A good model that copies."""
    return with_copies(world, world.good, lambda pixels: pixels)


def leaking_shifted(world: World) -> Portraits:
    """A good model whose copies are moved by one pixel, which docs/checks/privacy-near-copies.md says is not seen."""
    return with_copies(world, world.good, shifted)


def biased(world: World) -> Portraits:
    """``BIASED_SHARES`` in place of the law's: people of medium and deep tone become light ones, by chance."""
    rng = world.rng(20)
    lost = np.array([0.0, *(1 - BIASED_SHARES[k] / TONE_SHARES[k] for k in (1, 2))])
    rows = rng.random(len(world.good.tone)) < lost[world.good.tone]
    others = paint(drawn_quotas(int(rows.sum()), rng, tones=(1, 0, 0)), _seed(world.repeat, 21))
    return world.good.replaced(rows, others)


def blurring(world: World) -> Portraits:
    """Every image is blurred."""
    return world.good.changed(blurred(world.good.pixels, BLUR))


def dropping(world: World) -> Portraits:
    """No older people and nobody with glasses: 44 % of the law is missing."""
    rng = world.rng(30)
    rows = (world.good.age == 2) | world.good.glasses
    ages = (AGE_SHARES[0], AGE_SHARES[1], 0.0)
    others = paint(drawn_quotas(int(rows.sum()), rng, ages=ages, glasses=0.0), _seed(world.repeat, 31))
    return world.good.replaced(rows, others)


def several(world: World) -> Portraits:
    """Biased, blurred and copying."""
    release = biased(world)
    return with_copies(world, release.changed(blurred(release.pixels, BLUR)), lambda pixels: pixels)


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of release.

    Attributes:
        release: Its images, or None when a phantom is the model.
        sizes: Samples looked at.
        truth: Rule -> the true value of what it is about, where that is known by construction.
        passes: Whether the release as a whole should pass.
        model: Phantom to load; ``{data}`` stands for the training images.
    """

    release: Callable[[World], Portraits] | None
    sizes: tuple[int, ...]
    truth: Mapping[str, float]
    passes: bool = False
    model: str = ""


_CLEAN = {"exact-copies": 0.0, "near-copies": 0.0, "shares": 0.0}
_COPIES = {"exact-copies": COPIED, "near-copies": COPIED}
KINDS: Mapping[str, Kind] = {
    "good": Kind(good, SIZES, {**_CLEAN, "near-real": 0.0}, passes=True),
    "leaking": Kind(leaking, SIZES, {**_CLEAN, **_COPIES}),
    "biased": Kind(biased, SIZES, {**_CLEAN, "shares": 0.15}),
    "leaking, shifted by a pixel": Kind(leaking_shifted, (300, 600), {**_CLEAN, **_COPIES}),
    "blurring": Kind(blurring, (300,), _CLEAN),
    "dropping": Kind(dropping, (300, 600), _CLEAN),
    # The copies are of training images, whose shares are on target.
    "several": Kind(several, (300,), {**_COPIES, "shares": 0.15 * (1 - COPIED)}),
    "white box: learned a law": Kind(
        None,
        (300,),
        {"exact-copies": 0.0, "near-copies": 0.0, "membership": 0.5},
        passes=True,
        model="phantom:gaussian?shape=3x32x32",
    ),
    "white box: memoriser": Kind(
        None,
        (300,),
        {"exact-copies": 1.0, "near-copies": 1.0, "membership": 1.0},
        model="phantom:memoriser?data={data}",
    ),
}


@dataclass(slots=True, eq=False)
class RememberedFeatures:
    """Features by image, so that a portrait in several releases is embedded once.

    They are laid into the cache that ``evaluate`` reads, under the key that it looks for; a key that does not match
    costs time only, for then it computes them itself.
    """

    extractor: FeatureExtractor
    known: dict[bytes, tuple[NDArray[np.float32], NDArray[np.float32] | None]] = field(default_factory=dict)

    def of(self, pixels: Pixels) -> Features:
        """Features of ``(N, 3, H, W) uint8``."""
        keys = [image.tobytes() for image in pixels]
        fresh = list({key: row for row, key in enumerate(keys) if key not in self.known}.values())
        for start in range(0, len(fresh), 256):
            rows = fresh[start : start + 256]
            found = self.extractor.extract(pixels[rows])
            for at, row in enumerate(rows):
                logits = None if found.logits is None else found.logits[at]
                self.known[keys[row]] = (found.values[at], logits)
        values = np.stack([self.known[key][0] for key in keys])
        logits = [self.known[key][1] for key in keys]
        kept = [each for each in logits if each is not None]
        return Features(values, np.stack(kept) if kept else None)


@cache
def _catalogue() -> Catalogue:
    return Catalogue.discover()


@cache
def _extractor() -> FeatureExtractor:
    return load_extractors(RunConfig(offline=True), "cpu", _catalogue())[0]


def simulate(name: str, n: int, world: World, work: Path, memory: RememberedFeatures) -> dict[str, Any]:
    """Write the release, evaluate it, and return what the gate said: one record of the JSON lines."""
    kind = KINDS[name]
    real = {split: work / f"{split}.npz" for split in ("training", "holdout")}
    for split, path in real.items():
        if not path.exists():
            _write(getattr(world, split), path)
    model = kind.model.format(data=real["training"])
    sets = [world.training.pixels, world.holdout.pixels]
    if kind.release is not None:
        release = kind.release(world)
        path = work / "release.npz"
        _write(release.changed(release.pixels[:n]), path, labelled=False)
        model = str(path)
        sets.append(release.pixels[:n])
    settings: dict[str, Any] = {
        "model": model,
        "suite": WHITE_BOX if kind.model else BLACK_BOX,
        "data": str(real["training"]),
        "holdout": str(real["holdout"]),
        "samples": n,
        "seed": world.repeat,
        "threads": 1,
        "device": "cpu",
        "offline": True,
        "cache_dir": str(work / "cache"),
        "output": str(work / "run"),
        "policy": str(WHITE_BOX_POLICY if kind.model else POLICY),
    }
    if not kind.model:
        settings |= {"attribute": "skin tone", "attribute_classifier": "demo-skin-tone"}
    _fill_cache(RunConfig(**settings), sets, memory)
    done = ldm_eval.evaluate(**settings)
    shutil.rmtree(work / "run")
    verdict = done.verdict
    if verdict is None:
        raise RuntimeError("a policy was named and there is no verdict")
    rules = {
        rule.rule: [rule.status, *(_rounded(x) for x in (rule.value, rule.low, rule.high))] for rule in verdict.rules
    }
    return {"kind": name, "n": n, "repeat": world.repeat, "verdict": verdict.status, "rules": rules}


def _fill_cache(config: RunConfig, sets: Sequence[Pixels], memory: RememberedFeatures) -> None:
    prepared = prepare(config, _catalogue(), SilentProgress())
    store = FeatureStore(Path(config.cache_dir) / "features")
    fingerprint = memory.extractor.info.fingerprint
    machine = canonical_json(machine_of(prepared), indent=None)
    for pixels in sets:
        digest = image_digest(pixels)
        if store.find(digest, fingerprint, machine) is None:
            store.put(digest, fingerprint, machine, memory.of(pixels))


def _write(portraits: Portraits, path: Path, labelled: bool = True) -> None:
    np.savez(path, arr_0=portraits.pixels.transpose(0, 2, 3, 1))
    if labelled:
        rows = "".join(f"{row},{TONES[tone]}\n" for row, tone in enumerate(portraits.tone))
        path.with_name(path.name + ".csv").write_text("id,skin tone\n" + rows, encoding="utf-8")


def _rounded(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else round(value, 4)


def run_repeat(repeat: int, wanted: Sequence[tuple[str, int]], runs: Path) -> None:
    """One repeat: every kind and size asked for, each written down as soon as it is known."""
    import torch

    torch.set_num_threads(1)
    world, memory = World.made(repeat), RememberedFeatures(_extractor())
    with tempfile.TemporaryDirectory() as folder:
        for name, n in wanted:
            record = simulate(name, n, world, Path(folder), memory)
            with runs.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(record) + "\n")


def run_all(repeats: int, jobs: int, kinds: Sequence[str], runs: Path) -> None:
    """Every repeat that is not in ``runs`` yet, ``jobs`` at a time."""
    lines = runs.read_text(encoding="utf-8").splitlines() if runs.exists() else []
    there = {(found["kind"], found["n"], found["repeat"]) for found in map(json.loads, lines)}
    pairs = [(name, n) for name in kinds for n in KINDS[name].sizes]
    todo = {r: [(name, n) for name, n in pairs if (name, n, r) not in there] for r in range(repeats)}
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
        pending = [pool.submit(run_repeat, repeat, wanted, runs) for repeat, wanted in todo.items() if wanted]
        for each in pending:
            each.result()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--kinds", nargs="*", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--runs", type=Path, default=RUNS)
    parser.add_argument("--tables", action="store_true", help="print the tables of the runs that are there")
    parser.add_argument("--figure", type=Path, help="and draw the figure here")
    given = parser.parse_args()
    if not given.tables:
        run_all(given.repeats, given.jobs, given.kinds, given.runs)
        return
    from simulated_releases_tables import draw_figure, print_tables

    print_tables(given.runs)
    if given.figure:
        draw_figure(given.runs, given.figure)


if __name__ == "__main__":
    main()
