"""The variational bound on held-out and on training images: their code length, and whether training was learned."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from ldm_eval.api import (
    Alarm,
    Cell,
    Direction,
    Evidence,
    Figure,
    Finding,
    Invalid,
    Measurement,
    Needs,
    NotApplicable,
    PhantomCase,
    Phantoms,
    Planning,
    Role,
    Series,
    SignatureValue,
    Table,
)
from ldm_eval_quality.variational_bound_score import VARIATIONAL_BOUND, Layout, Stratum

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ldm_eval.diffusion.schedules import DiscreteSchedule
    from ldm_eval.stats.means import MeanEstimate

__all__ = ["FEWEST", "VariationalBoundCheck"]

FEWEST = 30
"""Fewest different scored images of each set: below, Student's interval leans on normal rows."""

_GROUP = 4
"""Strata that share a row of the table."""


@dataclass(frozen=True, slots=True, eq=False)
class _Terms:
    """Bits per dimension of the different images of one set: ``values (N, 2 + S)``: prior, decoder, the strata.

    ``left_out`` counts images that were scored and not used: repeats, and holdout images that were trained on.
    """

    values: NDArray[np.float64]
    left_out: int

    @property
    def total(self) -> NDArray[np.float64]:
        """``(N,)`` the bound of every image."""
        bits: NDArray[np.float64] = self.values.sum(axis=1)
        return bits


@dataclass(frozen=True, slots=True)
class _Words:
    """How the numbers of one space are called, so that bits of pixels and of latents are never taken for each other."""

    name: str
    unit: str
    note: str


_WORDS = {
    "pixels": _Words(
        "variational_bound",
        "bits/dim",
        "Code length of an 8-bit image in bits per pixel and channel, an upper bound.",
    ),
    "latents": _Words(
        "latent_variational_bound",
        "bits per latent dimension (a density)",
        "Upper bound on -log2 of the diffusion model's density at the latent (the scaled mean of the encoder). It is "
        "not bits per pixel and bounds no likelihood of the image; it may be negative, and only models that share an "
        "autoencoder can be compared.",
    ),
}


class VariationalBoundCheck:
    """Bits per dimension on holdout and training images, and what training images are cheaper by."""

    id: ClassVar[str] = "quality/variational_bound"
    title: ClassVar[str] = "Variational bound (bits per dimension)"
    question: ClassVar[str] = "How well does the model predict real images it never saw, and how much better its own?"
    needs: ClassVar[Needs] = Needs(roles=("training", "holdout"), scores=(VARIATIONAL_BOUND,))
    planning: ClassVar[Mapping[str, Planning]] = {
        "*_gap": Planning(
            "mean",
            "scored images of both sets together",
            most=2 * VARIATIONAL_BOUND.max_images,
            parameters={"fewest": 2 * FEWEST},
        ),
        "*": Planning("mean", "scored images", most=VARIATIONAL_BOUND.max_images, parameters={"fewest": FEWEST}),
    }
    phantoms: ClassVar[Phantoms] = Phantoms(
        measurement="variational_bound_gap",
        alarm=Alarm("low", ">", 0.0),
        catches=PhantomCase("ldm_eval_quality.phantoms:bound_of_memoriser", "the optimal denoiser of the training set"),
        leaves_alone=PhantomCase("ldm_eval_quality.phantoms:bound_of_law", "the exact denoiser of the law", truth=0.0),
    )

    def run(self, evidence: Evidence) -> Sequence[Finding] | NotApplicable | Invalid:
        """Average the scores of the different images of each set."""
        found = {role: evidence.scores(VARIATIONAL_BOUND.name, role) for role in VARIATIONAL_BOUND.roles}
        layouts = [Layout.read(one.values, VARIATIONAL_BOUND.parameters) for one in found.values()]
        if layouts[0] != layouts[1]:
            return Invalid("Training and holdout images were scored under different schedules; run it again.")
        seen = _digests(evidence, "training", range(len(evidence.images("training"))))
        training = _terms(evidence, "training", frozenset())
        holdout = _terms(evidence, "holdout", frozenset(seen))
        counts = [len(one.values) for one in (training, holdout)]
        if min(counts) < FEWEST:
            return NotApplicable(
                f"The bound needs {FEWEST} different scored images of each set; without repeats, and without holdout "
                f"images that were trained on, there are {counts[0]} of training and {counts[1]} of holdout."
            )
        layout = layouts[0]
        return [
            *_measurements(evidence, layout, training, holdout),
            _table(layout, training, holdout),
            *_figures(layout, training, holdout),
        ]


def _digests(evidence: Evidence, role: Role, rows: Sequence[int] | range) -> list[bytes]:
    import numpy as np

    pixels = evidence.images(role).pixels
    return [hashlib.sha256(np.ascontiguousarray(pixels[row]).tobytes()).digest() for row in rows]


def _terms(evidence: Evidence, role: Role, known: frozenset[bytes]) -> _Terms:
    """The scored images of a set, each one once and none of the ``known``."""
    import numpy as np

    scores = evidence.scores(VARIATIONAL_BOUND.name, role)
    seen, rows = set(known), []
    for row, digest in enumerate(_digests(evidence, role, scores.index.tolist())):
        if digest not in seen:
            rows.append(row)
            seen.add(digest)
    values = scores.values[:, Layout.HEADER :].astype(np.float64)
    return _Terms(values[rows], len(values) - len(rows))


def _measurements(evidence: Evidence, layout: Layout, training: _Terms, holdout: _Terms) -> list[Measurement]:
    from ldm_eval.stats.means import difference_of_means, mean_of

    words, protocol = _WORDS[layout.space], _protocol(evidence, layout)
    held, own = mean_of(holdout.total), mean_of(training.total)
    gap = difference_of_means(holdout.total, training.total)
    used = f"{len(holdout.total)} holdout and {len(training.total)} training images"
    dropped = holdout.left_out + training.left_out
    remarks = f" {dropped} repeated or shared images were left out." if dropped else ""
    if gap.interval.high < 0.0:
        remarks += (
            " The whole interval is below zero: the holdout images are easier than those it was trained on, for a "
            "reason that is not training and that hides what the model remembers."
        )

    def measured(suffix: str, estimate: MeanEstimate, direction: Direction, against: Role, note: str) -> Measurement:
        return evidence.measurement(
            words.name + suffix,
            estimate.value,
            estimate.interval,
            n=estimate.n,
            unit=words.unit,
            direction=direction,
            against=against,
            uses_extractor=False,
            group=None,
            floor=None,
            note=note,
            **protocol,
        )

    return [
        measured(
            "",
            held,
            "lower",
            "holdout",
            f"{words.note} On images the model never saw, without class labels.{_cheapest_pixel(layout)}",
        ),
        measured("_training", own, "none", "training", "The same on images it was trained on."),
        measured(
            "_gap",
            gap,
            "lower",
            "training",
            f"Holdout less training, {used}: above zero the model knows its training images better than fresh ones "
            f"(overfitting, memorisation).{remarks}",
        ),
    ]


def _protocol(evidence: Evidence, layout: Layout) -> dict[str, SignatureValue]:
    return {
        "score": VARIATIONAL_BOUND.name,
        "space": layout.space,
        "dimensions": layout.dimensions,
        "schedule": _schedule_name(layout),
        "timesteps": layout.timesteps,
        "decoder": "discretised" if layout.space == "pixels" else "gaussian",
        "decoder_variance": "beta_0",
        "labels": "none",
        "holdout_digest": evidence.images("holdout").digest,
        **{f"score_{name}": value for name, value in VARIATIONAL_BOUND.parameters.items()},
    }


def _schedule(layout: Layout) -> DiscreteSchedule | None:
    """The known schedule with this fingerprint."""
    from ldm_eval.diffusion.schedules import SCHEDULES
    from ldm_eval.errors import ConfigError
    from ldm_eval_quality.variational_bound_score import fingerprint

    for make in SCHEDULES.values():
        try:
            schedule = make(layout.timesteps)
        except ConfigError:  # a length this schedule does not come in
            continue
        if fingerprint(schedule) == layout.schedule:
            return schedule
    return None


def _schedule_name(layout: Layout) -> str:
    schedule = _schedule(layout)
    return schedule.name if schedule else f"unnamed, {layout.schedule:06x}"


def _cheapest_pixel(layout: Layout) -> str:
    """What the decoder's fixed variance costs a perfect guess: a property of the schedule and of no model."""
    schedule = _schedule(layout)
    if schedule is None or layout.space != "pixels":
        return ""
    import torch

    from ldm_eval.diffusion.likelihood import decoder_term, decoder_variance

    grey = torch.full((1, 1, 1, 1), 1.0 / 255.0, dtype=torch.float64)  # level 128
    bits = float(decoder_term(grey, grey, decoder_variance(schedule)))
    return f" This schedule charges at least {bits:.2f} bits for a pixel that is neither black nor white."


def _table(layout: Layout, training: _Terms, holdout: _Terms) -> Table:
    from ldm_eval.stats.means import mean_of

    rows: list[tuple[Cell, ...]] = []
    for name, timesteps, columns in _rows(layout.ranges):
        cells: list[float] = []
        for terms in (holdout, training):
            estimate = mean_of(terms.values[:, columns].sum(axis=1))
            cells += [estimate.value, estimate.interval.low, estimate.interval.high]
        rows.append((name, timesteps, *cells))
    unit = _WORDS[layout.space].unit
    return Table(
        "terms",
        f"Where the bits are, {unit}",
        ("term", "t", "holdout", "low", "high", "training", "low (training)", "high (training)"),
        tuple(rows),
        note=f"{len(holdout.values)} holdout and {len(training.values)} training images; schedule "
        f"{_schedule_name(layout)}, {layout.timesteps} timesteps. A prior far from zero: the chain does not end in "
        "the noise that sampling starts from.",
    )


def _rows(ranges: Sequence[Stratum]) -> list[tuple[str, str, list[int]]]:
    """(term, timesteps, columns of ``_Terms.values``) for every row of the table."""
    alone = next((i for i, stratum in enumerate(ranges) if stratum.size > 1), min(_GROUP, len(ranges)))
    cuts = sorted({0, min(1, len(ranges)), alone, *range(alone, len(ranges), _GROUP), max(len(ranges) - 1, 0)})
    rows = [("decoder", "0", [1])]
    for start, stop in zip(cuts, [*cuts[1:], len(ranges)], strict=True):
        if start < stop:
            name = Stratum(ranges[start].first, ranges[stop - 1].last).name
            rows.append(("transitions" if "-" in name else "transition", name, [2 + i for i in range(start, stop)]))
    return [*rows, ("prior", "", [0]), ("all", "", list(range(2 + len(ranges))))]


def _figures(layout: Layout, training: _Terms, holdout: _Terms) -> list[Figure]:
    if not layout.ranges:
        return []
    unit = _WORDS[layout.space].unit
    series = tuple(_curve(name, layout.ranges, terms) for name, terms in (("holdout", holdout), ("training", training)))
    return [
        Figure(
            "bits_by_timestep",
            "lines",
            "Where along the chain the bits are spent",
            "Bits of the transitions on holdout and training images against the timestep, a step for each range, as "
            f"bits per doubling of t, so that equal areas are equal bits; {series[0].y[0]:.2g} at t = 1 and "
            f"{max(series[0].y):.2g} at most on holdout. Where the training curve lies below, the model knows its "
            "training images at that noise level.",
            "timestep t (noise grows to the right)",
            f"{unit} per doubling of t",
            series,
            log_x=True,
        )
    ]


def _curve(name: str, ranges: Sequence[Stratum], terms: _Terms) -> Series:
    """A step for each stratum, its bits over the doublings from first - 1/2 to last + 1/2: the area *is* the bits.

    (A line through the strata's middles would draw the leap of a last transition as a triangle many times its bits.)
    """
    from ldm_eval.stats.means import mean_of

    edges: list[float] = []
    value: list[float] = []
    low: list[float] = []
    high: list[float] = []
    for column, stratum in enumerate(ranges):
        ends = (stratum.first - 0.5, stratum.last + 0.5)
        estimate = mean_of(terms.values[:, 2 + column] / math.log2(ends[1] / ends[0]))
        edges += ends
        value += [estimate.value] * 2
        low += [estimate.interval.low] * 2
        high += [estimate.interval.high] * 2
    return Series(name, tuple(edges), tuple(value), tuple(low), tuple(high))
