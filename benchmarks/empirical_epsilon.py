"""What the one-run audit reports: which number of guesses is best, how often it overstates, what choosing later does.

Run: ``OMP_NUM_THREADS=1 python benchmarks/empirical_epsilon.py [--runs 1000]``. Prints the three tables of
``docs/checks/privacy-empirical-epsilon.md``; with ``--scores FILE.npz`` (from the private folder of a run) how often
the losses of a real model accuse it when the coins are thrown anew; with ``--levels MODEL DATA`` the AUC by level.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from ldm_eval_privacy.empirical_epsilon import EmpiricalEpsilon
from ldm_eval_privacy.epsilon_phantoms import randomised_response
from numpy.typing import NDArray
from scipy.special import betainc, ndtri

from ldm_eval.api import Measurement
from ldm_eval.stats.audit import fixed_guesses, one_run_audit
from ldm_eval.stats.proportions import clopper_pearson
from ldm_eval.store.scores import load_scores

DELTA = 1e-5
LEVELS = "0.02 0.05 0.1 0.15 0.2 0.3 0.5"
SHARES = (0.1, 0.2, 0.3, 0.5, 1.0)
Flags = NDArray[np.bool_]


def shares(runs: int) -> None:
    """Median bound by share of canaries guessed for: normal losses, lower for included canaries."""
    print("\n| canaries | AUC of the loss | " + " | ".join(f"{share:.0%} guessed" for share in SHARES) + " |")
    print("|---" * (2 + len(SHARES)) + "|")
    for m in (200, 1000):
        for auc in (0.6, 0.7, 0.8, 0.9, 0.97):
            shift = float(ndtri(auc)) * np.sqrt(2.0)
            found: dict[float, list[float]] = {share: [] for share in SHARES}
            for run in range(runs):
                rng = np.random.default_rng([run, m])
                included = rng.random(m) < 0.5
                scores = rng.normal(size=m) + shift * included
                for share, bounds in found.items():
                    bounds.append(one_run_audit(scores, included, fixed_guesses(m, share), DELTA).epsilon)
            medians = " | ".join(f"{np.median(found[share]):.2f}" for share in SHARES)
            print(f"| {m:,} | {auc} | {medians} |", flush=True)


def overstated(runs: int) -> None:
    """Runs of the check whose bound exceeds the true epsilon of randomised response; at most 5 % are promised."""
    print("\n| canaries | true epsilon | median bound | ceiling | bound too high | 95 % interval | runs |")
    print("|---|---|---|---|---|---|---|")
    check = EmpiricalEpsilon()
    for m in (100, 400, 2000):
        for epsilon in (0.0, 1.0, 2.0, 4.0):
            found = []
            for run in range(runs):
                outcome = check.run(randomised_response(run, epsilon, m))
                if isinstance(outcome, list) and isinstance(outcome[0], Measurement):
                    found.append(outcome[0])
            over = sum(one.value > epsilon for one in found)
            interval = clopper_pearson(over, len(found))
            print(
                f"| {m:,} | {epsilon:g} | {np.median([one.value for one in found]):.2f} | {found[0].interval.high:.2f} "
                f"| {over / len(found):.3f} | [{interval.low:.3f}, {interval.high:.3f}] | {len(found)} |",
                flush=True,
            )


def chosen_afterwards(runs: int) -> None:
    """Share of runs on pure noise that report an epsilon above 0 when the rule is chosen on the same canaries."""
    print("\n| canaries | fixed beforehand | best number of guesses | best threshold | best two thresholds |")
    print("|---|---|---|---|---|")
    for m in (50, 100, 200, 500):
        hits = np.zeros(4)
        for run in range(runs):
            rng = np.random.default_rng([run, m, 1])
            hits += _alarms((rng.random(m) < 0.5)[np.argsort(rng.normal(size=m))])
        print(f"| {m} | " + " | ".join(f"{rate:.1%}" for rate in hits / runs) + " |", flush=True)


def _alarms(included: Flags) -> NDArray[np.float64]:
    """Which of four rules for guessing refutes epsilon 0 at delta 0; ``included`` in the order of the scores."""
    m = len(included)
    top, bottom = np.append(0, np.cumsum(included[::-1])), np.append(0, np.cumsum(~included))

    def seen(ins: NDArray[np.int64], outs: NDArray[np.int64]) -> Flags:
        guesses, right = ins + outs, top[ins] + bottom[outs]
        p = np.ones(guesses.shape)
        some = right > 0
        p[some] = betainc(right[some], guesses[some] - right[some] + 1, 0.5)
        return p < 0.05

    half, whole = np.arange(m // 2 + 1), np.arange(m + 1)
    fixed = np.array([fixed_guesses(m, 0.3) // 2])
    ins, outs = np.meshgrid(half, half)
    found = (seen(fixed, fixed), seen(half, half), seen(whole, m - whole), seen(ins, outs))
    return np.array([float(one.any()) for one in found])


def thrown_anew(path: Path, runs: int) -> None:
    """The losses of a real model with coins that it never saw: how often it is accused."""
    losses = load_scores(path).values[:, 0].astype(np.float64)
    guesses, over = fixed_guesses(len(losses), 0.3), 0
    for run in range(runs):
        included = np.random.default_rng([run, 2]).random(len(losses)) < 0.5
        over += one_run_audit(-losses, included, guesses, DELTA).epsilon > 0
    print(f"\n{path.name}: {over} of {runs} throws of {len(losses)} coins give an epsilon above 0.")


def by_level(model: str, data: str) -> None:
    """AUC of the loss between included and left-out canaries of a trained model, at several noise levels."""
    from ldm_eval_privacy.denoising_loss import score

    from ldm_eval.diffusion.quantise import to_float
    from ldm_eval.hooks.catalogue import Catalogue
    from ldm_eval.run.canaries import read_canaries
    from ldm_eval.run.data import load_images
    from ldm_eval.run.models import load_model
    from ldm_eval.stats.roc import auc

    catalogue = Catalogue.discover()
    found, images = load_model(model, "", "cpu", catalogue).model, load_images(data, catalogue, what="Data")
    record, parts = found.identity.training, found.white_box()
    if record is None or parts is None:
        raise SystemExit("This model has no training record or no inside.")
    canaries = read_canaries(record.canaries, images, record.data_size)
    losses = score(parts, to_float(canaries.of(images).pixels), 0, {"noises": 8, "levels": LEVELS})
    inside = canaries.included
    print("\n| steps | " + " | ".join(LEVELS.split()) + " |\n" + "|---" * (1 + losses.shape[1]) + "|")
    values = [auc(-losses[inside, column], -losses[~inside, column]) for column in range(losses.shape[1])]
    print(f"| {record.steps:,} | " + " | ".join(f"{value:.3f}" for value in values) + " |")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--scores", type=Path)
    parser.add_argument("--levels", nargs=2, metavar=("MODEL", "DATA"))
    given = parser.parse_args()
    if given.levels is not None:
        by_level(*given.levels)
        return
    if given.scores is not None:
        thrown_anew(given.scores, given.runs)
        return
    shares(given.runs // 5)
    overstated(given.runs)
    chosen_afterwards(given.runs)


if __name__ == "__main__":
    main()
