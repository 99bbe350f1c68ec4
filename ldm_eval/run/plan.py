"""What a run will do, decided before it does anything: which checks run, which do not and why, and what it costs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase

from ldm_eval.api import ROLES, CheckSpec, ImageSet, LoadedModel, Needs, Role, SamplingSettings, ScoreSpec, SuiteSpec
from ldm_eval.errors import ConfigError, DataError, PluginError, did_you_mean
from ldm_eval.hooks.catalogue import Catalogue, unavailable_reason
from ldm_eval.run.reconstruct import why_not
from ldm_eval.run.saved_scores import SavedScores

__all__ = ["Cost", "Plan", "PlannedCheck", "PlannedScore", "make_plan", "narrowed", "needed_roles", "select_checks"]

DEFAULT_SAMPLES = 1000


@dataclass(frozen=True, slots=True)
class PlannedCheck:
    """One check that was asked for. ``reason`` says why it will not run; empty when it will.

    ``available`` is False when it cannot run on this machine at all (a missing extra).
    """

    spec: CheckSpec
    reason: str = ""
    available: bool = True

    @property
    def runs(self) -> bool:
        """True when the check will run."""
        return not self.reason


@dataclass(frozen=True, slots=True)
class PlannedScore:
    """One white-box score of one set of images, and what it costs; ``saved`` is the file it is taken from, if any."""

    spec: ScoreSpec
    role: Role
    images: int
    saved: str = ""

    @property
    def network_calls(self) -> int:
        """Forward passes of the model."""
        return 0 if self.saved else self.images * self.spec.calls_per_image


@dataclass(frozen=True, slots=True)
class Cost:
    """An estimate from one timed batch of each network on this machine.

    Attributes:
        seconds: Sampling, features and scores; the statistics of the checks are not in it.
        disk_bytes: Samples and features.
        parts: Step -> seconds.
    """

    seconds: float
    disk_bytes: int
    parts: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that a run will do.

    Attributes:
        checks: Every check asked for.
        samples: Images to generate; 0 when no check that runs looks at any.
        settings: Resolved sampling settings.
        embed: Roles whose features are needed, in the run's first extractor.
        embed_each: Those of them that are needed in every further extractor.
        prompts: Roles whose prompts are embedded.
        mirrored: Roles whose mirrored images are embedded too, in the run's first extractor.
        mirrored_each: Those of them that are needed in every further extractor.
        attribute_roles: Roles whose attribute labels are needed.
        scores: White-box scores to compute.
        sampling_calls: Forward passes of the model for sampling.
        reconstructions: Holdout images to put through the model's autoencoder; 0 when no check needs them.
        sizes: How many images each role has or will have.
        saved: Scores that are taken from ``--scores``.
        cost: Time and disk, estimated for ``--dry-run``; None in a real run.
    """

    checks: tuple[PlannedCheck, ...]
    samples: int
    settings: SamplingSettings
    embed: tuple[Role, ...]
    attribute_roles: tuple[Role, ...]
    scores: tuple[PlannedScore, ...]
    sampling_calls: int
    reconstructions: int = 0
    embed_each: tuple[Role, ...] = ()
    prompts: tuple[Role, ...] = ()
    mirrored: tuple[Role, ...] = ()
    mirrored_each: tuple[Role, ...] = ()
    sizes: Mapping[Role, int] = field(default_factory=dict)
    saved: SavedScores = SavedScores()  # noqa: RUF009  (frozen)
    cost: Cost | None = None

    @property
    def running(self) -> tuple[PlannedCheck, ...]:
        """The checks that will run."""
        return tuple(check for check in self.checks if check.runs)


def select_checks(names: Sequence[str], catalogue: Catalogue) -> tuple[CheckSpec, ...]:
    """The checks behind suites, check ids and patterns such as ``quality/*``, sorted by id.

    Raises:
        ConfigError: for a name that selects nothing.
    """
    chosen: dict[str, CheckSpec] = {}
    for name in names:
        patterns = _patterns(name, catalogue.suites)
        found = {i: s for i, s in catalogue.checks.items() if _selects(patterns, s)}
        if not found:
            known = ["all", *catalogue.suites, *catalogue.checks]
            hint = did_you_mean(name, known)
            suites = ", ".join(["all", *sorted(catalogue.suites)])
            broken = ", ".join(plugin.name for plugin in catalogue.plugins if plugin.error)
            failed = f" Plugins that failed to load: {broken} (`ldm-eval plugins`)." if broken else ""
            raise ConfigError(
                f"There is no suite or check '{name}'.{hint} Suites: {suites}; `ldm-eval list checks`.{failed}"
            )
        chosen.update(found)
    return tuple(chosen[check_id] for check_id in sorted(chosen))


def _selects(patterns: Sequence[str], spec: CheckSpec) -> bool:
    """Whether one of the patterns takes the check in; one that is opt-in must be named."""
    return any(pattern == spec.id or (not spec.opt_in and fnmatchcase(spec.id, pattern)) for pattern in patterns)


def _patterns(name: str, suites: Mapping[str, SuiteSpec]) -> tuple[str, ...]:
    if name == "all":
        return ("*",)
    return suites[name].checks if name in suites else (name,)


@dataclass(frozen=True, slots=True)
class Lacking:
    """Why inputs other than images are not there; an empty text means that they are.

    Attributes:
        attributes: Why no groups can be told apart.
        text: Why no prompt can be embedded.
        statistics: Why there are no reference statistics.
        prompted: Roles whose every image has a prompt.
    """

    attributes: str = ""
    text: str = ""
    statistics: str = ""
    prompted: frozenset[Role] = frozenset()


def make_plan(
    checks: Sequence[CheckSpec],
    model: LoadedModel,
    settings: SamplingSettings,
    samples: int,
    sets: Mapping[Role, ImageSet],
    absent: Mapping[Role, str],
    lacking: Lacking,
    saved: SavedScores | None = None,
) -> Plan:
    """Decide for each check whether it can run, and take the union of what the running ones need.

    Args:
        checks: Checks asked for.
        model: The model, loaded.
        settings: Resolved sampling settings.
        samples: Images that will be generated.
        sets: Real images by role.
        absent: Why a role that one might expect is empty.
        lacking: Why other inputs are not there.
        saved: Scores that need not be computed.

    Raises:
        DataError: when not one of the checks could run; the reasons are listed.
    """
    given = _Given(model, samples, sets, absent, lacking, _no_autoencoder(checks, model, sets), saved or SavedScores())
    planned = tuple(_planned(spec, given) for spec in checks)
    running = [item.spec for item in planned if item.runs]
    if not running:
        reasons = "\n".join(f"  {item.spec.id}: {item.reason}" for item in planned)
        raise DataError(f"None of the checks asked for can run with what was given:\n{reasons}")
    wanted = samples if any(map(_reads_samples, running)) else 0
    calls = wanted * model.network_calls(settings)
    plan = Plan(planned, wanted, settings, (), (), (), calls, sizes=given.sizes, saved=given.saved)
    return _with_inputs(plan, running)


def narrowed(plan: Plan, checks: Collection[str]) -> Plan:
    """The plan with the inputs of these checks alone; all checks stay in it."""
    return _with_inputs(plan, [item.spec for item in plan.running if item.spec.id in checks])


def _with_inputs(plan: Plan, running: Sequence[CheckSpec]) -> Plan:
    """The plan with the union of what these checks read."""
    sizes = plan.sizes
    attribute_roles = {role for spec in running for role in spec.needs.attributes}
    embed = {role for spec in running for role in _embedded(spec.needs)}
    each = {role for spec in running if spec.needs.each_extractor or spec.needs.text for role in _embedded(spec.needs)}
    mirrored = {role for spec in running for role in spec.needs.mirrored}
    mirrored_each = {role for spec in running if spec.needs.each_extractor for role in spec.needs.mirrored}
    if attribute_roles:
        embed |= {*attribute_roles, "training", "holdout"}
    scores = _planned_scores(running, sizes, plan.saved)
    return replace(
        plan,
        embed=_ordered(embed & set(sizes)),
        embed_each=_ordered(each & set(sizes)),
        prompts=_ordered({role for spec in running for role in spec.needs.text}),
        mirrored=_ordered(mirrored & set(sizes)),
        mirrored_each=_ordered(mirrored_each & set(sizes)),
        attribute_roles=_ordered(attribute_roles & set(sizes)),
        scores=tuple(scores[key] for key in sorted(scores)),
        reconstructions=sizes.get("reconstruction", 0) if any(map(_reconstructs, running)) else 0,
    )


def _embedded(needs: Needs) -> set[Role]:
    return {*needs.features, *needs.logits, *(needs.optional if needs.features else ())}


def _planned_scores(
    running: Sequence[CheckSpec], sizes: Mapping[Role, int], saved: SavedScores
) -> dict[tuple[str, Role], PlannedScore]:
    """The scores of all checks; checks that name the same score share it, so they must mean the same one."""
    scores: dict[tuple[str, Role], PlannedScore] = {}
    meant: dict[str, tuple[CheckSpec, ScoreSpec]] = {}
    for spec in running:
        for score in spec.needs.scores:
            first, known = meant.setdefault(score.name, (spec, score))
            if replace(known, roles=score.roles) != score:
                raise PluginError(
                    f"{first.id} and {spec.id} both name a score '{score.name}' and mean different ones; "
                    f"switch one of them off with --suite, or ask the author of {spec.id} for another name."
                )
            for role in score.roles:
                if role in sizes:
                    images, file = min(score.max_images, sizes[role]), saved.taken.get((score.name, role), "")
                    scores[score.name, role] = PlannedScore(score, role, images, file)
    return scores


def _ordered(roles: set[Role] | set[str]) -> tuple[Role, ...]:
    return tuple(role for role in ROLES if role in roles)


@dataclass(frozen=True, slots=True, eq=False)
class _Given:
    """What checks are planned against; see ``make_plan``. ``no_autoencoder``: why there are no reconstructions."""

    model: LoadedModel
    samples: int
    sets: Mapping[Role, ImageSet]
    absent: Mapping[Role, str]
    lacking: Lacking
    no_autoencoder: str
    saved: SavedScores

    @property
    def sizes(self) -> dict[Role, int]:
        """How many images each role has or will have."""
        known: dict[Role, int] = {"samples": self.samples}
        known |= {role: len(images) for role, images in self.sets.items()}
        if "holdout" in self.sets and not self.no_autoencoder:
            known["reconstruction"] = len(self.sets["holdout"])
        return known


def needed_roles(needs: Needs) -> set[Role]:
    """Every role that must be there."""
    scored = {role for score in needs.scores for role in score.roles}
    read = {*needs.features, *needs.logits, *needs.attributes, *needs.pixels, *needs.text}
    return {*needs.roles, *read, *scored} - {*needs.optional}


def _reads_samples(spec: CheckSpec) -> bool:
    return bool(spec.needs.samples) or "samples" in {*needed_roles(spec.needs), *spec.needs.optional}


def _reconstructs(spec: CheckSpec) -> bool:
    return "reconstruction" in {*needed_roles(spec.needs), *spec.needs.optional}


def _no_autoencoder(checks: Sequence[CheckSpec], model: LoadedModel, sets: Mapping[Role, ImageSet]) -> str:
    """Why there are no reconstructions; a model that no check asks for them is not asked either."""
    if not any(map(_reconstructs, checks)):
        return "no check needs reconstructions"
    return why_not(model, sets.get("holdout"))


def _planned(spec: CheckSpec, given: _Given) -> PlannedCheck:
    missing_extra = unavailable_reason(spec.requires, spec.extra)
    if missing_extra:
        return PlannedCheck(spec, missing_extra, available=False)
    needs = spec.needs
    if given.samples < needs.samples:
        return PlannedCheck(spec, f"needs at least {needs.samples} samples; this run has {given.samples}")
    if needs.scores and not given.saved.given and given.model.white_box() is None:
        return PlannedCheck(spec, _HIDDEN)
    roles = needed_roles(needs)
    if "reconstruction" in roles and given.no_autoencoder:
        return PlannedCheck(spec, given.no_autoencoder)
    for role in _ordered(roles - {*given.sizes}):
        wanted: Role = "holdout" if role == "reconstruction" else role
        kind = "canary" if wanted == "canaries" else wanted
        return PlannedCheck(spec, f"needs {kind} images: {given.absent.get(wanted) or _HOW[wanted]}")
    return PlannedCheck(spec, _no_pixels(needs, given) or _unseen(needs, given) or _lacking(needs, given))


def _no_pixels(needs: Needs, given: _Given) -> str:
    """Which images a check reads of which there are only features; empty when there are none."""
    for role in _ordered(needed_roles(needs) & {*given.sets}):
        if not given.sets[role].has_pixels and _reads_pixels(needs, role):
            return f"needs the {role} images themselves; '{given.sets[role].name}' holds their features only"
    return ""


def _lacking(needs: Needs, given: _Given) -> str:
    """Why a check cannot run although all its sets of images are there; empty when it can."""
    if needs.attributes and given.lacking.attributes:
        return given.lacking.attributes
    if needs.statistics and given.lacking.statistics:
        return given.lacking.statistics
    if needs.text and given.lacking.text:
        return given.lacking.text
    wanted = [role for role in needs.text if role not in needs.optional]
    for role in (*wanted, *(role for score in needs.scores if score.prompts for role in score.roles)):
        if role not in given.lacking.prompted:
            return f"needs the prompt of each of the {role} images: {_PROMPTS.get(role, _PROMPTS['reference'])}"
    return ""


def _unseen(needs: Needs, given: _Given) -> str:
    """Why the white-box scores cannot be computed; empty when they can, are there already, or none are needed."""
    sets, saved = given.sets, given.saved
    wanted = [
        (score, role)
        for score in needs.scores
        for role in score.roles
        if role in given.sizes and (score.name, role) not in saved.taken
    ]
    if not wanted:
        return ""
    parts = given.model.white_box()
    if parts is None:
        return f"{_HIDDEN}; {_not_saved(wanted, saved)}" if saved.given else _HIDDEN
    if any(score.prompts for score, _ in wanted) and parts.text is None:
        return "needs a model that is told in words what to show; this one takes no text"
    for role in _ordered({role for _, role in wanted} - {"samples"}):
        if role in sets and sets[role].shape != parts.image_shape:
            sees, found = ("x".join(map(str, shape)) for shape in (parts.image_shape, sets[role].shape))
            return f"the model makes images of {sees}, the {role} images are {found}: give them as the model saw them"
    return ""


def _not_saved(wanted: Sequence[tuple[ScoreSpec, Role]], saved: SavedScores) -> str:
    """Why the first score that cannot be computed is not taken from ``--scores`` either."""
    refused = [saved.refused[score.name, role] for score, role in wanted if (score.name, role) in saved.refused]
    score, role = wanted[0]
    return refused[0] if refused else f"--scores holds no '{score.name}' of the {role} images"


def _reads_pixels(needs: Needs, role: Role) -> bool:
    """Whether a check reads the images of a role themselves; white-box scores do."""
    scored = any(role in score.roles for score in needs.scores)
    return scored or role in needs.pixels or role not in (*needs.features, *needs.logits)


_PROMPTS: Mapping[str, str] = {
    "samples": "sample a text-to-image model, or give finished images a column 'prompt' in the CSV beside them",
    "reference": "give them a column 'prompt' in the CSV beside them",
}

_HIDDEN = "needs the inside of the model (its denoiser), which this model does not show"
_HOW: Mapping[str, str] = {
    "training": "name what the model was trained on with --data",
    "holdout": "name real images from the same source that it never saw with --holdout",
    "reference": "name real images to measure against with --reference, --holdout or --data",
    "canaries": "train the model with `ldm-eval train --canaries N`",
}
