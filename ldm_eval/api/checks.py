"""Checks: what one needs, and how it is proven."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol

from ldm_eval.api.evidence import Evidence
from ldm_eval.api.images import Role
from ldm_eval.api.measurements import Finding, Invalid, Measurement, NotApplicable
from ldm_eval.api.models import DiffusionParts, Scalar
from ldm_eval.errors import PluginError

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray


class ScoreFunction(Protocol):
    """A white-box score, computed batch by batch where the model lives."""

    def __call__(
        self, parts: DiffusionParts, images: torch.Tensor, seed: int, parameters: Mapping[str, Scalar]
    ) -> NDArray[np.float32]:
        """Score ``images (N, C, H, W) float32 in [-1, 1]`` -> ``(N, K) float32``.

        What is drawn depends on ``seed`` alone (all images share it: two scores differ by the images) or on ``seed``
        and the image's content (two images are independent: an interval over images covers what the draws add).
        Either way neither the batch, nor the order, nor the role of an image matters.
        """
        ...


class PromptedScoreFunction(Protocol):
    """A white-box score of images with their prompts; else as ScoreFunction."""

    def __call__(
        self,
        parts: DiffusionParts,
        images: torch.Tensor,
        prompts: Sequence[str],
        seed: int,
        parameters: Mapping[str, Scalar],
    ) -> NDArray[np.float32]:
        """Score ``images (N, C, H, W) float32 in [-1, 1]`` and N prompts -> ``(N, K) float32``."""
        ...


@dataclass(frozen=True, slots=True)
class ScoreSpec:
    """A score that must be computed with the inside of the model before a check runs.

    Attributes:
        name: e.g. ``"denoising_loss"``; checks that name the same score share it.
        function: Dotted path ``package.module:function`` of a ScoreFunction.
        roles: Which image sets are scored.
        max_images: At most this many images of each set, drawn at random with the run's seed.
        calls_per_image: Network calls per image, for the plan.
        parameters: Passed to the function; part of the signature.
        prompts: True for a PromptedScoreFunction: the model must take text, and the images must have prompts.
        shuffled: Each image is scored with the prompt of another scored image of its set, as a control.
    """

    name: str
    function: str
    roles: tuple[Role, ...]
    max_images: int
    calls_per_image: int
    parameters: Mapping[str, Scalar] = field(default_factory=dict)
    prompts: bool = False
    shuffled: bool = False


@dataclass(frozen=True, slots=True)
class Needs:
    """What must be there for a check to run; the plan takes the union over all checks.

    Attributes:
        samples: Smallest number of generated images that gives an honest answer (0: none needed).
        roles: Sets of real images that must be there.
        optional: Sets of real images used when they are there.
        features: Roles whose features (of the run's extractor) are read.
        logits: Roles whose class logits are read.
        scores: White-box scores; any at all means the model must show its inside.
        attributes: Roles whose attribute labels are read.
        pixels: Roles whose pixels are read beside their features. A set that came as features alone will do for a role
            in ``features`` or ``logits``, unless it is here too.
        text: Roles whose prompts are read, embedded by the extractor (the first of the run that embeds text).
        each_extractor: True for a check that is run again with every further extractor the user names; its
            measurements are then called ``name@extractor``.
        statistics: True when it reads the statistics of ``--reference-statistics``.
        mirrored: Roles whose images are embedded a second time, mirrored left to right.
    """

    samples: int = 0
    roles: tuple[Role, ...] = ()
    optional: tuple[Role, ...] = ()
    features: tuple[Role, ...] = ()
    logits: tuple[Role, ...] = ()
    scores: tuple[ScoreSpec, ...] = ()
    attributes: tuple[Role, ...] = ()
    pixels: tuple[Role, ...] = ()
    text: tuple[Role, ...] = ()
    each_extractor: bool = False
    statistics: bool = False
    mirrored: tuple[Role, ...] = ()


@dataclass(frozen=True, slots=True)
class Alarm:
    """When the instrument has seen something: e.g. ``Alarm("low", ">", 0.0)``: the lower bound exceeds zero."""

    bound: Literal["low", "high", "value"]
    comparison: Literal["<", ">"]
    threshold: float

    def raised_by(self, measurement: Measurement) -> bool:
        """True when ``measurement`` raises this alarm."""
        interval = measurement.interval
        found = {"low": interval.low, "high": interval.high, "value": measurement.value}[self.bound]
        return found > self.threshold if self.comparison == ">" else found < self.threshold


@dataclass(frozen=True, slots=True)
class PhantomCase:
    """One phantom with a known answer.

    Attributes:
        factory: Dotted path ``package.module:function``; called as ``function(seed=..., **parameters)`` it returns
            an Evidence for the check.
        effect: The size of the effect in words, e.g. ``"10 % of the samples copy a training image"``.
        parameters: Passed to the factory.
        truth: The exact value of the measurement where it is known; calibration then checks coverage too.
    """

    factory: str
    effect: str
    parameters: Mapping[str, Scalar] = field(default_factory=dict)
    truth: float | None = None


@dataclass(frozen=True, slots=True)
class Phantoms:
    """How a check is proven: a case it must catch and a case it must leave alone.

    Attributes:
        measurement: Name of the measurement that is looked at.
        alarm: When that measurement counts as having seen the effect.
        catches: The alarm must be raised (in at least ``power`` of the seeds).
        leaves_alone: The alarm must stay quiet (but in ``false_alarms`` of the seeds).
        power: Promised detection rate on ``catches``.
        false_alarms: Tolerated rate on ``leaves_alone``.
        group: Group of the measurement, when it has one.
    """

    measurement: str
    alarm: Alarm
    catches: PhantomCase
    leaves_alone: PhantomCase
    power: float = 0.95
    false_alarms: float = 0.05
    group: str | None = None


class Check(Protocol):
    """One question about a model, answered with error bars.

    The module that defines it stays light (no torch at import), so that listing checks is quick.
    """

    id: ClassVar[str]
    """``"family/what_it_measures"``, e.g. ``"quality/frechet_distance"``."""
    title: ClassVar[str]
    """For headings, e.g. ``"Fréchet distance"``."""
    question: ClassVar[str]
    """The question it answers, one sentence."""
    needs: ClassVar[Needs]
    phantoms: ClassVar[Phantoms]

    def run(self, evidence: Evidence) -> Sequence[Finding] | NotApplicable | Invalid:
        """Measure. Returning NotApplicable or Invalid says why there is no number; raising is a crash."""
        ...


@dataclass(frozen=True, slots=True)
class Planning:
    """How the n of a measurement is planned before anything is sampled (``ldm-eval plan``).

    Attributes:
        kind: What the number is: ``"proportion"`` (Clopper-Pearson), ``"difference"`` of a share and a control's
            (Newcombe), ``"auc"`` (DeLong), ``"share"`` corrected for a classifier's errors (Lang-Reiczigel), ``"gap"``
            (the worst of such shares to their targets), or ``"mean"``: anything else that is about normal, which needs
            a pilot run for its standard error.
        images: What n counts, e.g. ``"samples, and as many holdout images"``.
        perfect: The value of a perfect model; without a pilot a rule is planned for a truth half-way from it to the
            limit. None: no such assumption is made.
        most: How many of ``images`` a run takes at most, whatever is asked for; None: as many as it has.
        parameters: ``trials`` per image (proportion); ``control`` share and ``controls`` per image (difference);
            ``judged`` share, ``chosen`` sign (1 or 0) and share of runs ``lost`` (auc); ``target`` (share, gap);
            ``curved`` (1 for a mean whose error falls as 1/n near a perfect value);
            ``fewest`` images that the check takes (any kind).
    """

    kind: Literal["proportion", "difference", "auc", "share", "gap", "mean"]
    images: str = "samples"
    perfect: float | None = None
    most: int | None = None
    parameters: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CheckSpec:
    """A light description of a check; ``load`` makes it. ``CheckSpec.of`` reads all of it off a check class.

    ``settings`` names what the check reads from ``evidence.parameters``, patterns such as ``target.*`` among them; a
    class says so in an attribute ``settings``. Any other setting is refused before the run.
    ``planning`` says by name (or a pattern such as ``"*_rate"``) how measurements are planned; a class says so in an
    attribute ``planning``.
    ``opt_in`` checks are costly: ``all``, a suite or a pattern leaves them out, and their own id asks for them; a class
    says so in an attribute ``opt_in``.
    """

    id: str
    title: str
    question: str
    needs: Needs
    phantoms: Phantoms
    load: Callable[[], Check]
    requires: tuple[str, ...] = ()
    extra: str = ""
    settings: tuple[str, ...] = ()
    planning: Mapping[str, Planning] = field(default_factory=dict)
    opt_in: bool = False

    @classmethod
    def of(cls, check: type[Check], *, requires: tuple[str, ...] = (), extra: str = "") -> CheckSpec:
        """Describe a check class whose module is light to import.

        Raises:
            PluginError: when it lacks one of the five attributes that a check declares.
        """
        declared = ("id", "title", "question", "needs", "phantoms")
        if missing := [name for name in declared if not hasattr(check, name)]:
            raise PluginError(
                f"The check {check.__name__} declares no {', no '.join(missing)}. A check has the class attributes "
                f"{', '.join(declared)}; phantoms are one case that it must catch and one that it must leave alone."
            )
        settings = tuple(getattr(check, "settings", ()))
        planning = dict(getattr(check, "planning", {}))
        described = (check.id, check.title, check.question, check.needs, check.phantoms)
        opt_in = bool(getattr(check, "opt_in", False))
        return cls(*described, check, requires, extra, settings, planning, opt_in)

    @property
    def family(self) -> str:
        """The part of the id before the slash."""
        return self.id.partition("/")[0]


@dataclass(frozen=True, slots=True)
class SuiteSpec:
    """A named selection of checks: ids or patterns such as ``"quality/*"``."""

    name: str
    summary: str
    checks: tuple[str, ...]
