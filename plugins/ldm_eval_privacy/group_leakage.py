"""Whose training images are reproduced: copies by group of the training images, aggregates only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from ldm_eval.api import (
    CANARY,
    UNKNOWN,
    Alarm,
    Evidence,
    Figure,
    Finding,
    Interval,
    Invalid,
    Measurement,
    Needs,
    NotApplicable,
    PhantomCase,
    Phantoms,
    Planning,
    Series,
    SignatureValue,
    Table,
)
from ldm_eval_privacy.group_cells import SMALL_CELL, Beside, Cell, beside_the_rest, put_together
from ldm_eval_privacy.pixel_space import PixelIndex, comparable, same_size
from ldm_eval_privacy.settings import positive_settings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["GroupLeakage"]

_DEFAULTS = {"grey_levels": 4.0, "max_side": 64.0, "most_groups": 20.0}
_WITHHELD = "withheld"
_PHANTOM = "ldm_eval_privacy.group_phantoms:partial_copier"


class GroupLeakage:
    """Share of each group's different training images that the samples reproduce, and the largest gap to the rest."""

    id: ClassVar[str] = "privacy/group_leakage"
    title: ClassVar[str] = "Leakage by group"
    question: ClassVar[str] = "Are the training images of some groups of people given out more often than the others'?"
    settings: ClassVar[tuple[str, ...]] = tuple(_DEFAULTS)
    planning: ClassVar[Mapping[str, Planning]] = {
        "reproduced_share": Planning("proportion", "different training images of the group", 0.0)
    }
    needs: ClassVar[Needs] = Needs(samples=50, roles=("training",))
    phantoms: ClassVar[Phantoms] = Phantoms(
        measurement="reproduction_gap",
        alarm=Alarm("low", ">", 0.0),
        catches=PhantomCase(_PHANTOM, "15 % of the samples show a training image, all of one group", {"skewed": True}),
        leaves_alone=PhantomCase(_PHANTOM, "15 % of the samples show one, of any group", {"skewed": False}, truth=0.0),
    )

    def run(self, evidence: Evidence) -> Sequence[Finding] | NotApplicable | Invalid:
        """Match the samples with the different training images and count them by group.

        Raises:
            ConfigError: for a setting this check does not have.
        """
        values = positive_settings(self.id, _DEFAULTS, evidence.parameters)
        samples, training = evidence.images("samples"), evidence.images("training")
        columns = _columns(training.groups, int(values["most_groups"]))
        if not columns:
            return NotApplicable(
                "No groups of training images are known. Give the training data a table with one column for each "
                f"attribute, of 2 to {values['most_groups']:.0f} groups."
            )
        if not same_size([samples, training]):
            return NotApplicable("Samples and training images have different sizes; give training data at that size.")
        arrays = comparable([samples, training], int(values["max_side"]))
        index = PixelIndex(arrays[1], values["grey_levels"], neighbours=len(training))
        matches = index.match(arrays[0])
        exact = matches.difference <= values["grey_levels"]
        evidence.withhold_samples(exact.nonzero()[0].tolist())
        counts = _count(index.duplicates.group[matches.nearest[exact]], index.duplicates.unique)
        if int((counts > 0).sum()) < SMALL_CELL:
            return NotApplicable(
                f"Fewer than {SMALL_CELL} different training images are reproduced by {len(samples)} samples: too few "
                "to be told apart by group."
            )
        first = index.duplicates.representatives
        groups = _groups({name: column[first] for name, column in columns.items()}, counts)
        if not groups:
            return NotApplicable(
                f"No attribute divides the different training images into two groups of {SMALL_CELL} or more."
            )
        return _Report(evidence, values, groups, len(samples), "x".join(map(str, arrays[0].shape[2:]))).findings()


def _columns(groups: Mapping[str, NDArray[np.str_]], most: int) -> dict[str, NDArray[np.str_]]:
    """Attributes of 2 to ``most`` groups, unknown aside; a column that says which images are canaries is none."""
    import numpy as np

    found = {}
    for name in sorted(groups):
        known = set(np.unique(groups[name]).tolist()) - {UNKNOWN, ""}
        if name != CANARY and 2 <= len(known) <= most:
            found[name] = np.asarray(groups[name])
    return found


def _count(images: NDArray[np.int64], different: int) -> NDArray[np.int64]:
    import numpy as np

    return np.bincount(images, minlength=different)


def _groups(columns: Mapping[str, NDArray[np.str_]], counts: NDArray[np.int64]) -> list[Beside]:
    """Every group beside the rest of its attribute, small ones put together."""
    import numpy as np

    shown, out = counts > 0, []
    for attribute, column in columns.items():
        cells = []
        for name in np.unique(column[(column != UNKNOWN) & (column != "")]).tolist():
            inside = column == name
            k = int((shown & inside).sum())
            cells.append(Cell(attribute, name, int(inside.sum()), k, int(counts[inside].sum())))
        out += beside_the_rest(put_together(cells))
    return out


@dataclass(frozen=True, slots=True, eq=False)
class _Report:
    evidence: Evidence
    values: dict[str, float]
    groups: list[Beside]
    samples: int
    size: str

    def findings(self) -> list[Finding]:
        """The largest gap, each group's share unless its counts are small, and the tests."""
        shares = [self._share(group.cell) for group in self.groups if not group.withheld]
        out: list[Finding] = [self._gap(), *shares, self._tests()]
        return [*out, _figure(shares)] if shares else out

    def _measurement(
        self, name: str, value: float, interval: Interval, n: int, note: str, group: str | None = None
    ) -> Measurement:
        protocol: dict[str, SignatureValue] = {
            "grey_levels": self.values["grey_levels"],
            "samples_n": self.samples,
            "compared_at": self.size,
            "mirrored_indexed": True,
        }
        return self.evidence.measurement(
            name,
            value,
            interval,
            n=n,
            unit="share of different training images" + (" of the group" if group else ""),
            direction="lower",
            against="training",
            uses_extractor=False,
            group=group,
            floor=None,
            note=note,
            **protocol,
        )

    def _gap(self) -> Measurement:
        """Bonferroni's intervals hold together, so their largest bounds hold the largest gap."""
        compared = len(_comparisons(self.groups))
        bounds = [group.interval(1 - 0.05 / compared) for group in self.groups]
        at = max(range(len(bounds)), key=lambda i: bounds[i].low)
        estimator = f"{bounds[0].estimator}, Bonferroni over {compared} comparisons"
        interval = Interval(max(b.low for b in bounds), max(b.high for b in bounds), 0.95, estimator)
        which = (
            f"'{self.groups[at].cell.label}' is reproduced more often than the rest."
            if interval.low > 0
            else "No group is reproduced more often than the rest, as far as these samples tell."
        )
        attributes = len({group.cell.attribute for group in self.groups})
        return self._measurement(
            "reproduction_gap",
            max(group.gap for group in self.groups),
            interval,
            max(group.cell.images + group.rest_images for group in self.groups),
            f"Primary. The largest excess of a group's share over the rest of its attribute; {len(self.groups)} groups "
            f"of {attributes} attributes. {which} {self._reach()} An image that is there many times counts once.",
        )

    def _reach(self) -> str:
        """What would have been seen, group by group; of withheld counts nothing is said."""
        from ldm_eval.stats.proportions import detectable_excess

        level = 1 - 0.05 / len(_comparisons(self.groups))
        excesses = [
            detectable_excess(group.cell.images, group.possible[0][1], group.rest_images, level=level)
            for group in self.groups
            if not group.withheld
        ]
        seen = [one for one in excesses if one is not None]
        if not seen:
            return ""
        return f"The smallest gap this run could have seen (with probability 0.95) is {min(seen):.2%}."

    def _share(self, cell: Cell) -> Measurement:
        from ldm_eval.stats.proportions import clopper_pearson

        return self._measurement(
            "reproduced_share",
            cell.reproduced / cell.images,
            clopper_pearson(cell.reproduced, cell.images),
            cell.images,
            f"{cell.reproduced} of {cell.images} different training images of the group are reproduced.",
            cell.label,
        )

    def _tests(self) -> Table:
        from ldm_eval.stats.multiplicity import holm

        compared = _comparisons(self.groups)
        adjusted = dict(zip(compared, holm([group.p_value for group in compared]).tolist(), strict=True))
        of_pair = {group.cell.attribute: p for group, p in adjusted.items()}
        rows = tuple(
            (
                group.cell.attribute,
                group.cell.name,
                group.cell.images,
                _WITHHELD if group.withheld else group.cell.reproduced,
                _WITHHELD if group.withheld else group.cell.samples,
                round(adjusted.get(group, of_pair[group.cell.attribute]), 6),
            )
            for group in self.groups
        )
        note = (
            f"Exact rule, {self.samples} samples. p: Fisher's exact test of each group against the rest of its "
            f"attribute, Holm over {len(compared)} comparisons. Counts from 1 to {SMALL_CELL - 1} speak of few people: "
            "such groups are put together, and of two groups both counts are withheld."
        )
        columns = ("attribute", "group", "different images", "reproduced", "samples of them", "p (Holm)")
        return Table("groups", "Training images reproduced, by group", columns, rows, note)


def _comparisons(groups: Sequence[Beside]) -> list[Beside]:
    """Groups whose tests differ: of an attribute's two groups, the first."""
    sizes: dict[str, int] = {}
    for group in groups:
        sizes[group.cell.attribute] = sizes.get(group.cell.attribute, 0) + 1
    seen: set[str] = set()
    out = []
    for group in groups:
        if sizes[group.cell.attribute] > 2 or group.cell.attribute not in seen:
            out.append(group)
        seen.add(group.cell.attribute)
    return out


def _figure(shares: Sequence[Measurement]) -> Figure:
    found = max(shares, key=lambda one: one.value)
    return Figure(
        "reproduced_by_group",
        "intervals",
        "Share of training images reproduced, by group",
        f"Share of each group's different training images that the samples reproduce, with 95 % intervals; the largest "
        f"is {found.value:.1%} for {found.group}. Groups with small counts are put together or left out.",
        "group",
        "share of different training images",
        (
            Series(
                "reproduced",
                tuple(str(one.group) for one in shares),
                tuple(one.value for one in shares),
                tuple(one.interval.low for one in shares),
                tuple(one.interval.high for one in shares),
            ),
        ),
    )
