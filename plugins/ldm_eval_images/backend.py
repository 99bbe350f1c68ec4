"""Finished images as a model: sample i is image i, so anything that writes pictures can be evaluated."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ldm_eval.api import DiffusionParts, Images, ImageSet, ModelIdentity, ModelRef, SampleRequest, SamplingSettings
from ldm_eval.diffusion.quantise import to_float
from ldm_eval.errors import ConfigError, DataError, ModelError
from ldm_eval_images.sources import confidence, read_images

SAMPLER = "finished-images"


class ImagesBackend:
    """A folder, zip or npz of finished images, of any size."""

    name = "images"

    def recognises(self, ref: ModelRef) -> float:
        """0..1; looks at the content. A zip that holds a saved network is not ours."""
        return confidence(ref.path)

    def load(self, ref: ModelRef, device: str) -> FinishedImages:
        """Read all images; ``device`` does not matter.

        Raises:
            ModelError: nothing there, or the images cannot be used; the message says which and why.
        """
        try:
            return FinishedImages(read_images(ref.path))
        except DataError as error:
            raise ModelError(str(error)) from error


def _depth(images: ImageSet) -> str:
    return "" if images.pixels.dtype == np.uint8 else ", 16 bits per channel, evaluated as 8"


class FinishedImages:
    """N finished images behind the protocol of a model. Sample ``i`` is image ``i``; the seed does not matter."""

    def __init__(self, images: ImageSet) -> None:
        self.images = images
        self._identity = ModelIdentity(
            name=images.name,
            backend=ImagesBackend.name,
            sha256=images.digest,
            architecture=f"{len(images):,} finished images{_depth(images)}",
            licence=images.licence,
        )

    @property
    def identity(self) -> ModelIdentity:
        """Named after the file or folder; its digest is the digest of the pixels."""
        return self._identity

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """``(C, H, W)`` as stored."""
        return self.images.shape

    @property
    def capacity(self) -> int:
        """How many images there are."""
        return len(self.images)

    def resolve(self, settings: SamplingSettings) -> SamplingSettings:
        """Nothing can be chosen about finished images.

        Raises:
            ConfigError: a sampler, steps, guidance or eta was asked for.
        """
        asked = {
            "sampler": settings.sampler not in ("", SAMPLER),
            "steps": settings.steps != 0,
            "guidance": settings.guidance != 1.0,
            "eta": settings.eta != 0.0,
        }
        for option, given in asked.items():
            if given:
                raise ConfigError(
                    f"{option} = {getattr(settings, option)} was asked for, but '{self.identity.name}' is a set of "
                    f"finished images: nothing is sampled. Leave {option} out."
                )
        return SamplingSettings(sampler=SAMPLER, steps=0, guidance=1.0, eta=0.0)

    def network_calls(self, settings: SamplingSettings) -> int:
        """None at all."""
        return 0

    def generate(self, requests: Sequence[SampleRequest]) -> Images:
        """Image number ``sample_id`` as float32 in [-1, 1]; stored, 8-bit images are what they were.

        16-bit ones are rounded to 8 when stored, by the rule that data of 16 bits follow (``ImageSet.eight_bit``).

        Raises:
            ModelError: a sample beyond the last image.
        """
        rows = [request.sample_id for request in requests]
        beyond = [row for row in rows if not 0 <= row < self.capacity]
        if beyond:
            raise ModelError(
                f"Sample {beyond[0]} was asked for; '{self.identity.name}' holds {self.capacity} images, 0 to "
                f"{self.capacity - 1}. Ask for at most {self.capacity} samples."
            )
        return Images(to_float(np.asarray(self.images.pixels[rows])))

    def white_box(self) -> DiffusionParts | None:
        """None: there is no network."""
        return None
