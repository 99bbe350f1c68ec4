"""What the simulated releases came to, from their JSON lines: Markdown tables and one figure.

python benchmarks/simulated_releases.py --tables --figure docs/simulated-releases.png
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from pathlib import Path

import numpy as np
from simulated_releases import KINDS, POLICY, WHITE_BOX_POLICY

from ldm_eval.gate import load_policy
from ldm_eval.gate.policy import Rule
from ldm_eval.stats.proportions import clopper_pearson

ANSWERS = ("pass", "fail", "inconclusive", "invalid", "not_run", "error")
COLOURS = {"pass": "#4c78a8", "inconclusive": "#d9d9d9", "fail": "#e4572e", "error": "#222222"}


@dataclass(frozen=True, slots=True)
class Ruling:
    """What one rule said of one release."""

    status: str
    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Cell:
    """All repeats of one kind and size: ``verdicts``, and for each rule its rulings in the same order."""

    kind: str
    n: int
    verdicts: tuple[str, ...]
    rulings: Mapping[str, tuple[Ruling, ...]]


def read(runs: Path) -> list[Cell]:
    """Cells in the order of KINDS, then of n."""
    order = {name: at for at, name in enumerate(KINDS)}
    found = [json.loads(line) for line in runs.read_text(encoding="utf-8").splitlines()]
    found.sort(key=lambda run: (order[run["kind"]], run["n"], run["repeat"]))
    cells = []
    for (kind, n), group in groupby(found, key=lambda run: (run["kind"], run["n"])):
        same = list(group)
        rules = {rule: tuple(Ruling(*run["rules"][rule]) for run in same) for rule in same[0]["rules"]}
        cells.append(Cell(kind, n, tuple(run["verdict"] for run in same), rules))
    return cells


def print_tables(runs: Path) -> None:
    cells = read(runs)
    _print_verdicts(cells)
    _print_verdict_sums(cells)
    _print_rules(cells)
    _print_sums(cells)


def _print_verdicts(cells: Sequence[Cell]) -> None:
    print("| release | n | should | pass | fail | inconclusive | error | right | wrong |")
    print("|---|---|---|---|---|---|---|---|---|")
    for cell in cells:
        counts, total = Counter(cell.verdicts), len(cell.verdicts)
        should, other = ("pass", "fail") if KINDS[cell.kind].passes else ("fail", "pass")
        shown = " | ".join(str(counts[answer]) for answer in ("pass", "fail", "inconclusive", "error"))
        print(
            f"| {cell.kind} | {cell.n} | {should} | {shown} | {_share(counts[should], total)} "
            f"| {_share(counts[other], total)} |"
        )


def _print_verdict_sums(cells: Sequence[Cell]) -> None:
    """Releases of one repeat share images, so the intervals are over repeats: any wrong verdict among all of its."""
    print("\n| releases | verdicts | decided right | undecided | decided wrong | repeats with a wrong one |")
    print("|---|---|---|---|---|---|")
    for label, passes in (("should pass", True), ("should fail", False)):
        right, wrong = ("pass", "fail") if passes else ("fail", "pass")
        same = [cell for cell in cells if KINDS[cell.kind].passes == passes]
        counts = Counter(verdict for cell in same for verdict in cell.verdicts)
        repeats = list(zip(*(cell.verdicts for cell in same), strict=True))
        undecided = counts.total() - counts[right] - counts[wrong]
        print(
            f"| {label} | {counts.total()} | {counts[right]} | {undecided} | {counts[wrong]} "
            f"| {_share(sum(wrong in repeat for repeat in repeats), len(repeats))} |"
        )


def _print_rules(cells: Sequence[Cell]) -> None:
    print("\n| release | n | rule | limit | truth | pass | fail | inconclusive | wrong | interval holds the truth |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for cell in cells:
        for rule, rulings in cell.rulings.items():
            counts = Counter(ruling.status for ruling in rulings)
            others = ", ".join(f"{counts[answer]} {answer}" for answer in ANSWERS[3:] if counts[answer])
            shown = " | ".join(str(counts[answer]) for answer in ANSWERS[:3])
            truth, known = _truth(cell, rule)
            wrong = _share(counts["pass" if _breaks(_limits()[rule], truth) else "fail"], len(rulings))
            print(
                f"| {cell.kind} | {cell.n} | {rule} | {_limits()[rule].limit} | {'' if known else '≈ '}{truth:.3g} "
                f"| {shown}{'; ' + others if others else ''} | {wrong} | {_held(rulings, truth) if known else ''} |"
            )


def _print_sums(cells: Sequence[Cell]) -> None:
    """Rules whose truth is known: how often a wrong pass, how often a wrong fail."""
    print("\n| rules with a known truth | rulings | decided right | undecided | decided wrong |")
    print("|---|---|---|---|---|")
    for label, breaks in (("within the limit", False), ("beyond the limit", True)):
        right, wrong = ("fail", "pass") if breaks else ("pass", "fail")
        counts = Counter(status for status, beyond in _known(cells) if beyond == breaks)
        total, decided = sum(counts.values()), counts[right] + counts[wrong]
        print(f"| {label} | {total} | {counts[right]} | {total - decided} | {counts[wrong]} |")


def _known(cells: Sequence[Cell]) -> Iterator[tuple[str, bool]]:
    for cell in cells:
        for rule, truth in KINDS[cell.kind].truth.items():
            for ruling in cell.rulings[rule]:
                yield ruling.status, _breaks(_limits()[rule], truth)


def _truth(cell: Cell, rule: str) -> tuple[float, bool]:
    """The true value, and whether it is known by construction; else the mean of the estimates at this n."""
    if rule in KINDS[cell.kind].truth:
        return KINDS[cell.kind].truth[rule], True
    return float(np.mean([each.value for each in cell.rulings[rule] if each.value is not None])), False


@cache
def _limits() -> dict[str, Rule]:
    return {rule.id: rule for path in (POLICY, WHITE_BOX_POLICY) for rule in load_policy(path).rules}


def _breaks(rule: Rule, truth: float) -> bool:
    lowest, highest = rule.limit.lowest, rule.limit.highest
    return (highest is not None and truth > highest) or (lowest is not None and truth < lowest)


def _held(rulings: Sequence[Ruling], truth: float) -> str:
    bounds = [(each.low, each.high) for each in rulings if each.low is not None and each.high is not None]
    return _share(sum(low <= truth <= high for low, high in bounds), len(bounds))


def _share(k: int, n: int) -> str:
    if n == 0:
        return ""
    bounds = clopper_pearson(k, n)
    return f"{k}/{n} [{bounds.low:.2f}, {bounds.high:.2f}]"


def draw_figure(runs: Path, path: Path) -> None:
    """Left: what the gate said of each kind and size. Right: how often single rules stay undecided, against n."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    cells = read(runs)
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4.6), layout="constrained", width_ratios=(1.5, 1))
    names = [f"{cell.kind}, n = {cell.n}" for cell in cells]
    start = np.zeros(len(cells))
    for answer, colour in COLOURS.items():
        width = np.array([cell.verdicts.count(answer) / len(cell.verdicts) for cell in cells])
        left.barh(names, width, left=start, color=colour, label=answer)
        start = start + width
    left.invert_yaxis()
    left.set_xlabel("share of releases")
    left.set_title("What the gate said")
    left.legend(loc="upper center", bbox_to_anchor=(0.4, -0.12), ncols=4, frameon=False)
    followed = (("good", "exact-copies"), ("good", "shares"), ("leaking", "exact-copies"), ("biased", "shares"))
    for at, (kind, rule) in enumerate(followed):
        same = [cell for cell in cells if cell.kind == kind]
        sizes = np.array([cell.n for cell in same]) * (1 + 0.02 * (at - 1.5))
        open_ = [sum(each.status not in ("pass", "fail") for each in cell.rulings[rule]) for cell in same]
        bounds = [clopper_pearson(k, len(cell.verdicts)) for k, cell in zip(open_, same, strict=True)]
        point = np.array([k / len(cell.verdicts) for k, cell in zip(open_, same, strict=True)])
        spread = [point - [b.low for b in bounds], [b.high for b in bounds] - point]
        right.errorbar(sizes, point, yerr=np.array(spread), marker="o", capsize=3, label=f"{kind}: {rule}")
    right.set_xscale("log")
    right.set_xticks(sorted({cell.n for cell in cells}), [str(n) for n in sorted({cell.n for cell in cells})])
    right.minorticks_off()
    right.set_xlabel("samples")
    right.set_ylabel("share of releases, with 95 % intervals")
    right.set_title("Rules left undecided")
    right.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=2, frameon=False)
    figure.savefig(path, dpi=110)
