"""How often is a leak seen when a model has memorised a share of its training images? By attack, and by the whole set.

Run: ``OMP_NUM_THREADS=1 python benchmarks/membership_attacks.py [--runs 100] [--images 160]``. Prints a Markdown table.
The model is the closed-form optimal denoiser of that share of the training images (``attack_phantoms.memoriser``), and
for a share of 0 the exact denoiser of the law of the images. *Seen*: the alarm of the check (the lower bound exceeds
what a model without a leak has); for a single attack, the AUC's bound that holds for all attacks together.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator

from ldm_eval_privacy.attack_phantoms import exact_law, memoriser
from ldm_eval_privacy.dataset_inference import DatasetInference
from ldm_eval_privacy.membership_attacks import MembershipAttacks

from ldm_eval.api import Check, Evidence, Measurement

SHARES = (0.0, 0.1, 0.2, 0.3, 0.5, 1.0)
COLUMNS = {
    "primary": ("membership_advantage_auc", 0.5),
    "SimA": ("sima_auc", 0.5),
    "PIA": ("pia_auc", 0.5),
    "SecMI": ("secmi_auc", 0.5),
    "loss": ("denoising_loss_auc", 0.5),
    "dataset inference": ("dataset_membership_gap", 0.0),
}
CHECKS: tuple[type[Check], ...] = (MembershipAttacks, DatasetInference)


def phantom(check: str, share: float, seed: int, images: int) -> Evidence:
    """Both sets have ``images`` images."""
    if share == 0:
        return exact_law(seed, check, images, images)
    return memoriser(seed, share, check, images, images)


def measured(share: float, seed: int, images: int) -> Iterator[Measurement]:
    """What both checks report; an Invalid one reports nothing."""
    for check in CHECKS:
        found = check().run(phantom(check.id, share, seed, images))
        if isinstance(found, list):
            yield from (one for one in found if isinstance(one, Measurement))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--images", type=int, default=160)
    told = parser.parse_args()
    print("| memorised | mean AUC of the primary | " + " | ".join(COLUMNS) + " |")
    print("|---" * (len(COLUMNS) + 2) + "|")
    for share in SHARES:
        seen: Counter[str] = Counter()
        total, aucs = 0.0, 0
        for seed in range(told.runs):
            for one in measured(share, 10_000 + seed, told.images):
                seen[one.name] += one.interval.low > dict(COLUMNS.values()).get(one.name, 2.0)
                if one.name == "membership_advantage_auc":
                    total, aucs = total + one.value, aucs + 1
        rates = " | ".join(f"{seen[name] / told.runs:.2f}" for name, _ in COLUMNS.values())
        print(f"| {share:.0%} | {total / aucs:.3f} | {rates} |", flush=True)


if __name__ == "__main__":
    main()
