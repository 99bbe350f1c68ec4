"""Near copies: samples that are closer to one training image than fresh real images are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from ldm_eval.api import (
    Alarm,
    Evidence,
    Figure,
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
    Series,
    SignatureValue,
    Table,
)
from ldm_eval_privacy.copy_evidence import CopyPair, write_pairs
from ldm_eval_privacy.copy_rules import Control, Judged, Rules, find_control
from ldm_eval_privacy.pixel_space import PixelIndex, comparable, same_size
from ldm_eval_privacy.settings import positive_settings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["NearCopies"]

_DEFAULTS = {
    "alpha": 0.5,
    "threshold": 1.0,
    "neighbours": 50.0,
    "grey_levels": 4.0,
    "max_side": 64.0,
    "max_overlap": 0.01,
    "false_positives": 0.01,
}
_COPIER = "ldm_eval_privacy.phantoms:copier"


class NearCopies:
    """Share of samples that are near copies of training images, and its excess over held-out real images."""

    id: ClassVar[str] = "privacy/near_copies"
    title: ClassVar[str] = "Near copies of training images"
    question: ClassVar[str] = "Does the model reproduce training images more often than chance resemblance explains?"
    settings: ClassVar[tuple[str, ...]] = tuple(_DEFAULTS)
    planning: ClassVar[Mapping[str, Planning]] = {
        "near_copy_excess": Planning(  # half of the holdout sets the cut, the other half is the control
            "difference",
            "samples, and as many holdout images",
            0.0,
            parameters={"control": _DEFAULTS["false_positives"], "controls": 0.5},
        ),
        "near_copy_false_positive_rate": Planning("proportion", "holdout images"),
        "exact_copy_rate": Planning("proportion", perfect=0.0),
        "near_copy_rate": Planning("proportion"),  # fresh images are flagged too, how often depends on the data
    }
    needs: ClassVar[Needs] = Needs(samples=50, roles=("training",), optional=("holdout",))
    phantoms: ClassVar[Phantoms] = Phantoms(
        measurement="near_copy_excess",
        alarm=Alarm("low", ">", 0.0),
        catches=PhantomCase(_COPIER, "10 % of the samples copy a training image", {"copy_rate": 0.1}, truth=0.1),
        leaves_alone=PhantomCase(_COPIER, "fresh images of the same law", {"copy_rate": 0.0}, truth=0.0),
    )

    def run(self, evidence: Evidence) -> Sequence[Finding] | NotApplicable | Invalid:
        """Judge samples and holdout images by the same rules.

        Raises:
            ConfigError: for a setting this check does not have.
            StoreError: when the private evidence cannot be written.
        """
        from ldm_eval.stats.duplicates import find_duplicates

        values = positive_settings(self.id, _DEFAULTS, evidence.parameters)
        samples, training = evidence.images("samples"), evidence.images("training")
        holdout = evidence.images("holdout") if evidence.has("holdout") else None
        sets = [samples, training, *([holdout] if holdout is not None else [])]
        if not same_size(sets):
            sizes = ", ".join(f"{images.name or 'a set'} {images.shape[1]}x{images.shape[2]}" for images in sets)
            return NotApplicable(f"Pixels are compared at one size; found {sizes}. Give training data at that size.")
        arrays = comparable(sets, int(values["max_side"]))
        index = PixelIndex(arrays[1], values["grey_levels"], int(values["neighbours"]))
        rules = Rules(values["alpha"], values["threshold"], values["grey_levels"])
        judged = rules.judge(index.match(arrays[0], evidence.progress))
        evidence.withhold_samples((judged.exact if judged.near is None else judged.near).nonzero()[0].tolist())
        control = None
        if holdout is not None:
            different = find_duplicates(arrays[2], near=values["grey_levels"]).representatives
            seen = rules.judge(index.match(arrays[2][different], evidence.progress))
            found = find_control(seen, values, evidence.rng("halves of the holdout"))
            if isinstance(found, str):
                return Invalid(f"{found} {_what_was_seen(judged)}")
            control = found
        report = _Report(evidence, values, index, judged, control, tuple(arrays[0].shape[2:]))
        return report.findings(_write(evidence, judged, samples, training))


def _what_was_seen(judged: Judged) -> str:
    return f"Without that control: {int(judged.exact.sum())} of {len(judged.exact)} samples are exact copies."


def _write(evidence: Evidence, judged: Judged, samples: ImageSet, training: ImageSet) -> str:
    flagged = judged.exact if judged.near is None else judged.near
    matches = judged.matches
    pairs = [
        CopyPair(
            image=int(row),
            training=int(matches.nearest[row]),
            mirrored=bool(matches.mirrored[row]),
            rule="exact" if judged.exact[row] else "near",
            difference=float(matches.difference[row]),
            ratio=None if matches.ratio is None else float(matches.ratio[row]),
        )
        for row in flagged.nonzero()[0]
    ]
    if not pairs:
        return ""
    return write_pairs(evidence.private_folder(), "near_copies", pairs, samples, training)


@dataclass(frozen=True, slots=True, eq=False)
class _Report:
    evidence: Evidence
    values: dict[str, float]
    index: PixelIndex
    judged: Judged
    control: Control | None
    size: tuple[int, ...]

    def findings(self, written: str) -> list[Finding]:
        out: list[Finding] = [self._exact(written), self._counts()]
        if self.judged.near is None:
            return out
        near = [self._near(self.judged.near, written)]
        if self.control is not None:
            near = [self._excess(self.control), *near, self._false_positives(self.control)]
            if self.judged.matches.ratio is not None and self.control.ratio is not None:
                out.append(
                    _ratio_figure(self.judged.matches.ratio, self.control.ratio, self._published, self.control.cut)
                )
        return [*near, *out]

    @property
    def _published(self) -> float:
        return self.values["alpha"] * self.values["threshold"]

    def _measurement(
        self,
        name: str,
        value: float,
        interval: Interval,
        n: int,
        note: str,
        *,
        of: str = "samples",
        floor: float | None = None,
        holdout: bool = False,
    ) -> Measurement:
        names = ("alpha", "threshold", "neighbours", "grey_levels", "false_positives", "max_overlap")
        protocol: dict[str, SignatureValue] = {name: self.values[name] for name in names}
        protocol |= {"compared_at": "x".join(map(str, self.size)), "mirrored_indexed": True}
        if holdout:
            protocol |= {"holdout_digest": self.evidence.images("holdout").digest}
        return self.evidence.measurement(
            name,
            value,
            interval,
            n=n,
            unit=f"share of {of}",
            direction="lower" if of == "samples" else "none",
            against="training",
            uses_extractor=False,
            group=None,
            floor=floor,
            note=" ".join(note.split()),
            **protocol,
        )

    def _excess(self, control: Control) -> Measurement:
        from ldm_eval.stats.proportions import detectable_excess, newcombe

        flagged = self.judged.exact.copy()
        if self.judged.matches.ratio is not None:
            flagged |= self.judged.matches.ratio < control.cut
        k, n = int(flagged.sum()), len(flagged)
        smallest = detectable_excess(n, control.false, control.judged)
        able = (
            f"The smallest excess this run could have seen (with probability 0.95) is {smallest:.2%}."
            if smallest is not None
            else "No excess at all could have been told from chance with so few images."
        )
        return self._measurement(
            "near_copy_excess",
            k / n - control.false / control.judged,
            newcombe(k, n, control.false, control.judged),
            n,
            f"Primary. {k} of {n} samples against {control.false} of {control.judged} holdout images have a distance "
            f"ratio below {control.cut:.3f}, chosen on the other holdout images. {able}",
            holdout=True,
        )

    def _near(self, near: NDArray[np.bool_], written: str) -> Measurement:
        from ldm_eval.stats.proportions import clopper_pearson

        k, n = int(near.sum()), len(near)
        distinct = len(set(self.judged.matches.nearest[near].tolist()))
        return self._measurement(
            "near_copy_rate",
            k / n,
            clopper_pearson(k, n),
            n,
            f"{distinct} different training images are reproduced. {written}",
            floor=None if self.control is None else self.control.near / self.control.n,
        )

    def _false_positives(self, control: Control) -> Measurement:
        from ldm_eval.stats.proportions import clopper_pearson

        return self._measurement(
            "near_copy_false_positive_rate",
            control.near / control.n,
            clopper_pearson(control.near, control.n),
            control.n,
            "The published rule on real images the model never saw; "
            f"{control.overlap} that are in the training set were left out.",
            of="holdout images",
            holdout=True,
        )

    def _exact(self, written: str) -> Measurement:
        from ldm_eval.stats.proportions import clopper_pearson, detectable_share

        k, n = int(self.judged.exact.sum()), len(self.judged.exact)
        few = (
            f"The relative rule needs more than {self.index.neighbours} different training images; there are "
            f"{self.index.duplicates.unique}, so near_copy_rate was not measured. {written}"
        )
        return self._measurement(
            "exact_copy_rate",
            k / n,
            clopper_pearson(k, n),
            n,
            f"A copy rate of {detectable_share(n):.2%} would have shown itself with probability 0.95. "
            f"{few if self.judged.near is None else ''}",
            floor=None if self.control is None else self.control.overlap / (self.control.overlap + self.control.n),
        )

    def _counts(self) -> Table:
        duplicates, judged = self.index.duplicates, self.judged
        flagged = judged.exact if judged.near is None else judged.near
        hits = judged.matches.nearest[flagged].tolist()
        rows: list[tuple[str, int | None]] = [
            ("training images", len(duplicates.group)),
            ("different training images", duplicates.unique),
            ("most copies of one image in training", int(duplicates.multiplicity.max())),
            ("samples", len(judged.exact)),
            ("samples flagged as near copies", None if judged.near is None else int(judged.near.sum())),
            ("samples flagged as exact copies", int(judged.exact.sum())),
            ("flagged samples that are mirrored", int(judged.matches.mirrored[flagged].sum())),
            ("different training images reproduced", len(set(hits))),
            ("most samples of one training image", max((hits.count(hit) for hit in set(hits)), default=0)),
            ("different holdout images", None if self.control is None else self.control.overlap + self.control.n),
            ("holdout images found in training", None if self.control is None else self.control.overlap),
        ]
        return Table("counts", "What was compared and what was found", ("what", "count"), tuple(rows))


def _ratio_figure(samples: NDArray[np.float64], holdout: NDArray[np.float64], published: float, cut: float) -> Figure:
    import numpy as np

    share = np.linspace(0, 1, 101)

    def line(name: str, values: NDArray[np.float64]) -> Series:
        return Series(name, tuple(np.quantile(values, share).round(6).tolist()), tuple(share.round(2).tolist()))

    def edge(name: str, at: float) -> Series:
        return Series(f"{name}: below {at:.3g}", (at, at), (0.0, 1.0))

    below = f"{(samples < cut).mean():.1%} of the samples and {(holdout < cut).mean():.1%} of the holdout images"
    edges = [edge("published rule", published)]
    if cut < published:
        edges.append(edge("rule of the excess", cut))
    return Figure(
        "distance_ratio",
        "lines",
        "How close the nearest training image is",
        "Cumulative share of samples and of holdout images by the distance to the nearest training image over the "
        f"mean distance to the nearest ones. A model that copies lifts its curve at the left: {below} lie below "
        f"{cut:.3g}.",
        "nearest distance / mean of the nearest",
        "share of images",
        (line("samples", samples), line("holdout", holdout), *edges),
    )
