"""The variational bound of single images from a few dozen network calls: every term, unbiased."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, final

from ldm_eval.api import DiffusionParts, NoiseSchedule, Scalar, ScoreSpec
from ldm_eval.errors import ConfigError, EvidenceError

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

__all__ = ["VARIATIONAL_BOUND", "Layout", "Stratum", "fingerprint", "score", "strata"]

_SINGLES, _STRATA = 4, 16

VARIATIONAL_BOUND = ScoreSpec(
    name="variational_bound",
    function="ldm_eval_quality.variational_bound_score:score",
    roles=("training", "holdout"),
    max_images=200,
    calls_per_image=1 + _SINGLES + _STRATA + 1,
    parameters={"singles": _SINGLES, "strata": _STRATA, "variance": "beta", "clip": True},
)
"""22 network calls an image: the decoder, the first four transitions, 16 strata of the others, the last transition."""

Space = Literal["pixels", "latents"]
_SPACES: tuple[Space, ...] = ("pixels", "latents")


@dataclass(frozen=True, slots=True)
class Stratum:
    """Transitions ``first`` .. ``last``, one of which is looked at per image."""

    first: int
    last: int

    @property
    def size(self) -> int:
        """How many transitions it stands for."""
        return self.last - self.first + 1

    @property
    def name(self) -> str:
        """``"9"`` or ``"9-11"``."""
        return str(self.first) if self.size == 1 else f"{self.first}-{self.last}"


def strata(timesteps: int, singles: int, count: int) -> tuple[Stratum, ...]:
    """Divide the transitions 1 .. T-1: the first ``singles`` and the last one alone, the others in ``count`` strata.

    The strata grow geometrically, because the terms fall about as 1/t: most bits lie at the first timesteps. The last
    transition stands alone because schedules that end in (almost) pure noise take a leap there. A chain with no more
    transitions than that has all of them alone, and nothing is drawn.

    Raises:
        ConfigError: for negative counts.
    """
    if singles < 1 or count < 1:
        raise ConfigError(f"The bound needs at least one transition alone and one stratum; found {singles}, {count}.")
    last = timesteps - 1
    if last <= singles + count + 1:
        return tuple(Stratum(t, t) for t in range(1, timesteps))
    edges = [singles + 1]
    for k in range(1, count + 1):
        wanted = round((singles + 1) * (last / (singles + 1)) ** (k / count))
        edges.append(max(wanted, edges[-1] + 1))
    ranges = [Stratum(low, high - 1) for low, high in itertools.pairwise(edges)]
    return (*(Stratum(t, t) for t in range(1, singles + 1)), *ranges, Stratum(last, last))


def fingerprint(schedule: NoiseSchedule) -> int:
    """24 bits of the SHA-256 of every alpha_t (to nine digits): which schedule it is, exact as a float32."""
    import torch

    table = schedule.alpha(torch.arange(schedule.steps)).tolist()
    text = "\n".join(f"{alpha:.9e}" for alpha in table)
    return int.from_bytes(hashlib.sha256(text.encode("ascii")).digest()[:3], "big")


@final
@dataclass(frozen=True, slots=True)
class Layout:
    """What the columns of a score mean; the first four say it in numbers, the same in every row.

    Attributes:
        space: Whether x_0 is the image or its latent.
        dimensions: Numbers in one x_0.
        timesteps: T.
        schedule: ``fingerprint`` of the schedule.
        ranges: The strata, one column each after prior and decoder.
    """

    space: Space
    dimensions: int
    timesteps: int
    schedule: int
    ranges: tuple[Stratum, ...]

    HEADER = 4

    @classmethod
    def of(cls, parts: DiffusionParts, parameters: Mapping[str, Scalar]) -> Layout:
        """The layout of the scores of this model."""
        channels, height, width = parts.state_shape
        steps = parts.schedule.steps
        return cls(
            "pixels" if parts.autoencoder is None else "latents",
            channels * height * width,
            steps,
            fingerprint(parts.schedule),
            strata(steps, int(parameters["singles"]), int(parameters["strata"])),
        )

    @classmethod
    def read(cls, values: NDArray[np.float32], parameters: Mapping[str, Scalar]) -> Layout:
        """Read the layout back from ``values (N, K)``.

        Raises:
            EvidenceError: when the columns are not those of this score.
        """
        steps = int(values[0, 2])
        ranges = strata(steps, int(parameters["singles"]), int(parameters["strata"]))
        same = bool((values[:, : cls.HEADER] == values[0, : cls.HEADER]).all())
        if not same or values[0, 0] not in (0, 1) or values.shape[1] != cls.HEADER + 2 + len(ranges):
            raise EvidenceError(
                f"The stored scores of the bound, {values.shape[1]} columns, are not those this version computes. "
                "Start the run again in a fresh folder."
            )
        return cls(_SPACES[int(values[0, 0])], int(values[0, 1]), steps, int(values[0, 3]), ranges)

    @property
    def header(self) -> tuple[float, ...]:
        """The first four columns."""
        return (float(_SPACES.index(self.space)), float(self.dimensions), float(self.timesteps), float(self.schedule))


def score(
    parts: DiffusionParts, images: torch.Tensor, seed: int, parameters: Mapping[str, Scalar]
) -> NDArray[np.float32]:
    """Every term of the bound (``diffusion.likelihood``) per image, in bits per dimension; unbiased, stratified in t.

    The prior term is exact. The decoder and every transition that stands alone are looked at under one noise; of a
    stratum one transition is drawn uniformly and stands for all, so its column holds its size times that term.
    Timesteps and noises come from (seed, SHA-256 of the image): an image has the same score in any batch, order or
    set, and two images are independent, so that an interval over images covers what the draws add. (Draws shared by
    all images would leave a common error that no such interval can see.)

    Args:
        parts: The inside of the model; any prediction type. Labels are not given: a class-conditional model is judged
            as it is without a class.
        images: ``(N, C, H, W) float32 in [-1, 1]``; for a pixel model on the 256 levels.
        seed: Seed of the run.
        parameters: ``singles``, ``strata``: see ``strata``; ``variance``: of the reverse transitions, ``posterior`` or
            ``beta``; ``clip``: clamp a pixel model's x0 to [-1, 1], as published figures do.

    Returns:
        ``(N, 4 + 2 + S) float32``: the header of ``Layout``, prior, decoder, one column a stratum. The decoder is the
        discretised one for pixels, the gaussian one (a density) for latents.

    Raises:
        ConfigError: for a variance that is neither.
    """
    import torch

    from ldm_eval.diffusion.likelihood import decoder_term, decoder_variance, prior_term, transition_term
    from ldm_eval.diffusion.noise import SampleNoise
    from ldm_eval.diffusion.parameterisation import add_noise, predict

    layout, variance = Layout.of(parts, parameters), _variance(parameters)
    seeds = [_image_seed(row, seed) for row in images]
    x0 = parts.to_states(images.to(parts.device, torch.float32))
    noise = SampleNoise(seeds, parts.device)
    drawn = torch.from_numpy(_timesteps(layout, seeds)).to(parts.device)

    def look(t: torch.Tensor) -> torch.Tensor:
        x_t = add_noise(parts.schedule, x0, noise.draw(parts.state_shape), t)
        guess = predict(parts.denoiser, parts.schedule, "x0", x_t, t)
        return guess.clamp(-1.0, 1.0) if layout.space == "pixels" and bool(parameters["clip"]) else guess

    with torch.no_grad():
        columns = [torch.full((len(x0),), number, dtype=torch.float64) for number in layout.header]
        columns.append(prior_term(parts.schedule, x0))
        start = torch.zeros(len(x0), dtype=torch.int64, device=parts.device)
        decoder: Literal["discretised", "gaussian"] = "discretised" if layout.space == "pixels" else "gaussian"
        columns.append(decoder_term(x0, look(start), decoder_variance(parts.schedule), decoder=decoder))
        for stratum, t in zip(layout.ranges, drawn.T, strict=True):
            columns.append(stratum.size * transition_term(parts.schedule, t, x0, look(t), variance=variance))
    rows: NDArray[np.float32] = torch.stack([c.to("cpu", torch.float32) for c in columns], dim=1).numpy()
    return rows


def _variance(parameters: Mapping[str, Scalar]) -> Literal["posterior", "beta"]:
    chosen = parameters["variance"]
    if chosen == "posterior":
        return "posterior"
    if chosen == "beta":
        return "beta"
    raise ConfigError(f"The variance of the bound's reverse transitions is 'posterior' or 'beta'; found {chosen!r}.")


def _image_seed(image: torch.Tensor, seed: int) -> int:
    from ldm_eval.diffusion.randomness import derived_seed

    digest = hashlib.sha256(image.detach().to("cpu").contiguous().numpy().tobytes()).digest()
    return derived_seed(seed, "quality/variational_bound", int.from_bytes(digest, "big"))


def _timesteps(layout: Layout, seeds: list[int]) -> NDArray[np.int64]:
    """``(N, S)``: one timestep of every stratum for every image."""
    import numpy as np

    first = np.array([stratum.first for stratum in layout.ranges], dtype=np.int64)
    last = np.array([stratum.last for stratum in layout.ranges], dtype=np.int64)
    return np.stack([np.random.Generator(np.random.PCG64([seed, 1])).integers(first, last + 1) for seed in seeds])
