"""What the text-conditioned privacy checks say of text-to-image models whose leak is known.

Prints the tables of ``docs/checks/privacy-caption-likelihood.md`` and ``docs/checks/privacy-prompt-screen.md``:
``OMP_NUM_THREADS=1 python benchmarks/captioned_models.py`` (about a minute).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from ldm_eval_privacy.caption_likelihood import CaptionLikelihood
from ldm_eval_privacy.caption_phantoms import exact_law, memoriser, reader
from ldm_eval_privacy.prompt_screen import PromptScreen

from ldm_eval.api import Check, Evidence, Invalid, Measurement, NotApplicable

AUC = ("caption_likelihood_auc", "caption_likelihood_auc_fixed_caption", "caption_likelihood_auc_shuffled_captions")
EXCESS = ("flagged_prompt_excess", "flagged_prompt_rate", "flagged_prompt_false_positive_rate")


def row(name: str, check: Check, names: tuple[str, ...], seeds: range, make: Callable[[int], Evidence]) -> None:
    """One line of a table: medians of the measurements, and how often the lower bound of the first raised an alarm."""
    values: dict[str, list[float]] = {one: [] for one in names}
    alarms = invalid = 0
    for seed in seeds:
        found = check.run(make(seed))
        if isinstance(found, Invalid | NotApplicable):
            invalid += 1
            continue
        by_name = {one.name: one for one in found if isinstance(one, Measurement)}
        alarms += check.phantoms.alarm.raised_by(by_name[names[0]])
        for one in names:
            values[one].append(by_name[one].value)
    medians = " | ".join(f"{np.median(values[one]):.3f}" if values[one] else "–" for one in names)
    print(f"| {name} | {medians} | {alarms} | {invalid} | {len(seeds)} |", flush=True)


def main() -> None:
    """Print both tables."""
    losses, screen = CaptionLikelihood(), PromptScreen()
    print("| model | AUC | one caption for all | shuffled captions | alarms | Invalid | runs |")
    print("|---|---|---|---|---|---|---|")
    for known in (1.0, 0.5, 0.3, 0.2):
        row(f"knows {known:.0%} of the pairs by heart", losses, AUC, range(60), partial(memoriser, known=known))
    row("knows captions, no image", losses, AUC, range(60), reader)
    row("knows words, no pair", losses, AUC, range(100, 420), exact_law)
    row("the same, other words in the holdout", losses, AUC, range(60), partial(exact_law, other_words=True))
    print("\n| model | excess | flagged, training | flagged, unseen | alarms | Invalid | runs |")
    print("|---|---|---|---|---|---|---|")
    heart = partial(memoriser, check=PromptScreen.id, members=240, holdout=240)
    for known in (1.0, 0.2, 0.1, 0.05):
        row(f"knows {known:.0%} of the pairs by heart", screen, EXCESS, range(100), partial(heart, known=known))
    row(
        "knows captions, no image",
        screen,
        EXCESS,
        range(60),
        partial(reader, check=PromptScreen.id, members=240, holdout=240),
    )
    law = partial(exact_law, check=PromptScreen.id, members=240, holdout=240)
    row("knows words, no pair", screen, EXCESS, range(1000, 1300), law)
    row("the same, other words in the holdout", screen, EXCESS, range(60), partial(law, other_words=True))


if __name__ == "__main__":
    main()
