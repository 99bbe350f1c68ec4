"""The training set itself: duplicates, images shared with the holdout, and whether the two are of one law."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from ldm_eval.api import (
    Alarm,
    Evidence,
    Finding,
    ImageSet,
    Interval,
    Invalid,
    Measurement,
    Needs,
    NotApplicable,
    PhantomCase,
    Phantoms,
    Planning,
    SignatureValue,
    Table,
)
from ldm_eval_privacy.copy_evidence import CopyPair, write_pairs
from ldm_eval_privacy.duplicate_evidence import largest_groups, write_groups
from ldm_eval_privacy.pixel_space import PixelIndex, PixelMatches, comparable, same_size
from ldm_eval_privacy.settings import positive_settings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ldm_eval.stats.duplicates import Duplicates
    from ldm_eval_privacy.blind import BlindResult

__all__ = ["TrainingSet"]

_DEFAULTS = {"grey_levels": 4.0, "max_side": 64.0, "blind_images": 2000.0}
_FEWEST = 50
"""Fewest different images of each set for the blind classifier: half of them are judged."""
_LISTED = 10
_SETS = "ldm_eval_privacy.data_phantoms:two_sets"


@dataclass(frozen=True, slots=True, eq=False)
class _Overlap:
    """Different holdout images beside the training set; ``rows (n,)`` are theirs in the holdout."""

    rows: NDArray[np.int64]
    matches: PixelMatches
    shared: NDArray[np.bool_]

    @property
    def kinds(self) -> dict[str, NDArray[np.bool_]]:
        """How the shared ones are shared; each is of one kind."""
        mirrored, equal = self.matches.mirrored, self.matches.difference == 0
        return {
            "equal": self.shared & equal & ~mirrored,
            "nearly equal": self.shared & ~equal & ~mirrored,
            "mirrored": self.shared & mirrored,
        }


class TrainingSet:
    """Duplicates in training, images shared with the holdout, and the AUC of a classifier that sees no model."""

    id: ClassVar[str] = "privacy/training_set"
    title: ClassVar[str] = "The training set and its holdout"
    question: ClassVar[str] = "Does the training set hold images more than once, and is the holdout fit for a control?"
    settings: ClassVar[tuple[str, ...]] = tuple(_DEFAULTS)
    planning: ClassVar[Mapping[str, Planning]] = {
        "blind_auc": Planning(
            "auc",
            "different images of each set",
            0.5,
            2 * int(_DEFAULTS["blind_images"]),
            {"judged": 0.5, "chosen": 0.0, "fewest": _FEWEST},
        ),
        "holdout_*overlap_rate": Planning("proportion", "different holdout images", 0.0),
    }
    needs: ClassVar[Needs] = Needs(
        roles=("training",),
        optional=("holdout",),
        features=("training", "holdout"),
        pixels=("training", "holdout"),
    )
    phantoms: ClassVar[Phantoms] = Phantoms(
        measurement="blind_auc",
        alarm=Alarm("low", ">", 0.5),
        catches=PhantomCase(_SETS, "members are stored as PNG, the holdout as JPEG", {"quality": 90}),
        leaves_alone=PhantomCase(_SETS, "both sets of one law, both PNG", {"quality": 0}, truth=0.5),
    )

    def run(self, evidence: Evidence) -> Sequence[Finding] | NotApplicable | Invalid:
        """De-duplicate, compare with the holdout, and let the blind classifier judge.

        Raises:
            ConfigError: for a setting this check does not have.
            StoreError: when the private evidence cannot be written.
        """
        from ldm_eval.stats.duplicates import find_duplicates

        values = positive_settings(self.id, _DEFAULTS, evidence.parameters)
        training = evidence.images("training")
        holdout = evidence.images("holdout") if evidence.has("holdout") else None
        beside = holdout if holdout is not None and same_size([training, holdout]) else None
        arrays = comparable([training] if beside is None else [training, beside], int(values["max_side"]))
        index = PixelIndex(arrays[0], values["grey_levels"], neighbours=len(training))
        evidence.progress(1, 4)
        different = arrays[0][index.duplicates.representatives]
        unmirrored = find_duplicates(different, near=values["grey_levels"], mirrored=True).unique
        evidence.progress(2, 4)
        overlap = None if beside is None else _overlap(index, arrays[1], values["grey_levels"])
        evidence.progress(3, 4)
        blind = [] if overlap is None else _blind(evidence, index.duplicates, overlap, int(values["blind_images"]))
        report = _Report(evidence, values, index.duplicates, tuple(arrays[0].shape[2:]), overlap, blind)
        return report.findings(different=len(different), unmirrored=unmirrored, holdout=holdout)


def _overlap(index: PixelIndex, holdout: NDArray[np.generic], grey_levels: float) -> _Overlap:
    from ldm_eval.stats.duplicates import find_duplicates

    rows = find_duplicates(holdout, near=grey_levels).representatives
    matches = index.match(holdout[rows])
    return _Overlap(rows, matches, matches.difference <= grey_levels)


def _blind(evidence: Evidence, duplicates: Duplicates, overlap: _Overlap, most: int) -> list[BlindResult]:
    """What each view sees; nothing where too few different images are left."""
    from ldm_eval_privacy.blind import judge_blindly
    from ldm_eval_privacy.data_views import data_views, drawn

    fresh = overlap.rows[~overlap.shared]
    if min(duplicates.unique, len(fresh)) < _FEWEST:
        return []
    members = drawn(evidence, "training", duplicates.representatives, most)
    return judge_blindly(data_views(evidence, members, drawn(evidence, "holdout", fresh, most), captions=True))


@dataclass(frozen=True, slots=True, eq=False)
class _Report:
    evidence: Evidence
    values: dict[str, float]
    duplicates: Duplicates
    size: tuple[int, ...]
    overlap: _Overlap | None
    blind: list[BlindResult]

    def findings(self, *, different: int, unmirrored: int, holdout: ImageSet | None) -> list[Finding]:
        """All there is to say; what could not be compared is missing, and the table of counts says why."""
        out: list[Finding] = [self._best_view()] if self.blind else []
        out.append(self._duplicated())
        if self.overlap is not None and holdout is not None:
            out += self._overlaps(self.overlap, holdout)
        out += [self._counts(different - unmirrored, holdout), self._multiplicities(), *self._largest()]
        if self.blind:
            out.append(_views_table(self.blind))
        return out

    def _measurement(
        self, name: str, value: float, interval: Interval, n: int, unit: str, note: str, *, holdout: bool
    ) -> Measurement:
        protocol: dict[str, SignatureValue] = {"compared_at": "x".join(map(str, self.size))}
        protocol |= dict(self.values)
        if holdout:
            protocol |= {"holdout_digest": self.evidence.images("holdout").digest}
        return self.evidence.measurement(
            name,
            value,
            interval,
            n=n,
            unit=unit,
            direction="lower",
            against="training",
            uses_extractor=name == "blind_auc",
            group=None,
            floor=None,
            note=" ".join(note.split()),
            **protocol,
        )

    def _best_view(self) -> Measurement:
        """The largest AUC of all views; Bonferroni's intervals hold together, so their largest bounds hold it."""
        from ldm_eval.stats.roc import detectable_auc

        found = max(self.blind, key=lambda one: one.auc.interval.low)
        bounds = [one.auc.interval for one in self.blind]
        level = 1 - len(bounds) * (1 - bounds[0].level)
        estimator = f"{found.auc.interval.estimator}, Bonferroni over {len(bounds)} views"
        interval = Interval(max(b.low for b in bounds), max(b.high for b in bounds), round(level, 9), estimator)
        if interval.low > 0.5:
            says = (
                f"From {found.name} alone members are told from non-members: no membership result of this run that "
                "rests on them holds."
            )
        else:
            smallest = detectable_auc(found.auc.positives, found.auc.negatives, found.auc.interval.level)
            says = (
                "No view tells members from non-members. The smallest AUC that one could have seen (with probability "
                f"0.95) is {smallest:.2f}."
            )
        return self._measurement(
            "blind_auc",
            max(one.auc.value for one in self.blind),
            interval,
            found.auc.positives + found.auc.negatives,
            "AUC, 0.5 is chance",
            f"Primary. The best of {len(bounds)} classifiers that see the images and no model, on images they did not "
            f"learn from. {says}",
            holdout=True,
        )

    def _duplicated(self) -> Measurement:
        n = len(self.duplicates.group)
        several = int(self.duplicates.multiplicity[self.duplicates.multiplicity > 1].sum())
        written = write_groups(
            self.evidence.private_folder(), "training_duplicates", self.duplicates, self.evidence.images("training")
        )
        return self._measurement(
            "duplicated_share",
            several / n,
            Interval(several / n, several / n, 0.95, "complete count"),
            n,
            "share of training images",
            f"{several} of {n} training images are there more than once; {self.duplicates.unique} are different. All "
            f"were compared with all, so there is no sampling error. {written}",
            holdout=False,
        )

    def _overlaps(self, overlap: _Overlap, holdout: ImageSet) -> list[Measurement]:
        from ldm_eval.stats.proportions import clopper_pearson

        n, kinds = len(overlap.rows), overlap.kinds
        written = _write_overlap(self.evidence, overlap, holdout)

        def rate(name: str, flagged: NDArray[np.bool_], note: str) -> Measurement:
            k = int(flagged.sum())
            note = f"{k} of {n} different holdout images {note}"
            return self._measurement(
                name, k / n, clopper_pearson(k, n), n, "share of different holdout images", note, holdout=True
            )

        return [
            rate("holdout_overlap_rate", overlap.shared, f"are training images, mirrored or not. {written}"),
            rate("holdout_exact_overlap_rate", kinds["equal"], "are equal to one pixel by pixel."),
            rate("holdout_mirrored_overlap_rate", kinds["mirrored"], "are the mirror image of one."),
        ]

    def _counts(self, mirror_twins: int, holdout: ImageSet | None) -> Table:
        duplicates, overlap = self.duplicates, self.overlap
        rows: list[tuple[str, int | None]] = [
            ("training images", len(duplicates.group)),
            ("different training images", duplicates.unique),
            ("equal to an earlier one pixel by pixel", duplicates.exact),
            ("nearly equal to an earlier one", duplicates.near),
            ("most copies of one image in training", int(duplicates.multiplicity.max())),
            ("different training images that are another one mirrored", mirror_twins),
            ("different holdout images", None if overlap is None else len(overlap.rows)),
        ]
        kinds = {} if overlap is None else overlap.kinds
        rows += [
            (f"holdout images found in training, {kind}", int(kinds[kind].sum()) if kinds else None)
            for kind in ("equal", "nearly equal", "mirrored")
        ]
        return Table(
            "counts", "What is in the training set", ("what", "count"), tuple(rows), note=self._missing(holdout)
        )

    def _missing(self, holdout: ImageSet | None) -> str:
        if holdout is None:
            return "There is no holdout set, so neither overlap nor the blind classifier was measured."
        if not holdout.has_pixels:
            return "The holdout came as features alone, so the two sets were not compared."
        if self.overlap is None:
            return "Training and holdout images have different sizes, so the two sets were not compared."
        if not self.blind:
            return (
                f"The blind classifier needs {_FEWEST} different images of each set, not in the other; there are fewer."
            )
        return ""

    def _multiplicities(self) -> Table:
        import numpy as np

        times, images = np.unique(self.duplicates.multiplicity, return_counts=True)
        return Table(
            "multiplicities",
            "How often images are in the training set",
            ("times", "different images", "training images"),
            tuple((int(r), int(m), int(r * m)) for r, m in zip(times, images, strict=True)),
        )

    def _largest(self) -> list[Table]:
        groups = largest_groups(self.duplicates)[:_LISTED]
        if not len(groups):
            return []
        rows = tuple((at + 1, int(self.duplicates.multiplicity[group])) for at, group in enumerate(groups))
        note = "Which images these are is in the run's private folder."
        return [Table("largest_groups", "The largest groups of equal images", ("group", "training images"), rows, note)]


def _write_overlap(evidence: Evidence, overlap: _Overlap, holdout: ImageSet) -> str:
    matches = overlap.matches
    pairs = [
        CopyPair(
            image=int(overlap.rows[at]),
            training=int(matches.nearest[at]),
            mirrored=bool(matches.mirrored[at]),
            rule="equal" if matches.difference[at] == 0 else "near",
            difference=float(matches.difference[at]),
            ratio=None,
        )
        for at in overlap.shared.nonzero()[0]
    ]
    if not pairs:
        return ""
    return write_pairs(evidence.private_folder(), "holdout_overlap", pairs, holdout, evidence.images("training"))


def _views_table(blind: Sequence[BlindResult]) -> Table:
    rows = tuple((r.name, r.auc.value, r.auc.interval.low, r.auc.interval.high, r.auc.positives) for r in blind)
    return Table(
        "blind_views",
        "What tells training from holdout images without the model",
        ("what it saw", "AUC", "low", "high", "training images judged"),
        rows,
        note=f"Each interval at level {blind[0].auc.interval.level:.4g}, so that all hold together at 0.95.",
    )
