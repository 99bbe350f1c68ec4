"""All that a check sees of a run."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ldm_eval.api.features import AttributeLabels, ExtractorInfo, FeatureStatistics
from ldm_eval.api.images import ImageSet, Role
from ldm_eval.api.measurements import Direction, Interval, Measurement, Signature, SignatureValue
from ldm_eval.api.models import Scalar
from ldm_eval.errors import EvidenceError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """A white-box score of one set: ``values (N, K) float32`` for the images at ``index (N,) int64`` of the set."""

    index: NDArray[np.int64]
    values: NDArray[np.float32]


class Evidence(ABC):
    """All that a check sees. Arrays are read when asked for; what a check did not declare, it cannot read."""

    check: str
    """Id of the check this evidence was put together for."""
    seed: int
    """Seed of the run; take randomness from ``rng``."""
    parameters: Mapping[str, Scalar]
    """Settings of this check from the configuration file; defaults are the check's own."""

    @abstractmethod
    def has(self, role: Role) -> bool:
        """True when there is a set of images in this role."""

    @abstractmethod
    def images(self, role: Role) -> ImageSet:
        """The images in this role. Raises EvidenceError when there are none or it was not declared."""

    @abstractmethod
    def features(self, role: Role) -> NDArray[np.float32]:
        """``(N, D) float32`` features in the run's extractor, in the order of ``images(role)``."""

    @abstractmethod
    def logits(self, role: Role) -> NDArray[np.float32]:
        """``(N, K) float32`` bias-free class logits of the run's extractor."""

    @abstractmethod
    def extractor(self) -> ExtractorInfo:
        """What ``features`` and ``logits`` were computed with."""

    @abstractmethod
    def scores(self, name: str, role: Role) -> Scores:
        """A white-box score that the check declared."""

    @abstractmethod
    def attributes(self, role: Role) -> AttributeLabels:
        """Attribute labels of the images in this role."""

    @abstractmethod
    def protocol(self) -> Signature:
        """How the samples were made: model, sampler, steps, guidance, seed rule, quantisation, dtype."""

    @abstractmethod
    def private_folder(self) -> Path | None:
        """Where evidence that shows training images may be written; never part of the card. None: nowhere."""

    def text_features(self, role: Role) -> NDArray[np.float32]:
        """``(N, D) float32`` features of the prompts of ``images(role)``, in the space of ``features(role)``."""
        raise EvidenceError(f"{self.check} asked for prompts of '{role}', which were not computed here.")

    def mirrored_features(self, role: Role) -> NDArray[np.float32] | None:
        """``(N, D) float32`` features of the mirrored ``images(role)``; None for a set that came as features alone."""
        raise EvidenceError(f"{self.check} asked for mirrored images of '{role}', which were not embedded here.")

    def statistics(self) -> FeatureStatistics | None:
        """Statistics of real images in the extractor's space; None when the file holds none of its dimension."""
        raise EvidenceError(f"{self.check} asked for reference statistics, and none were given here.")

    def keep_contributions(  # noqa: B027  (to keep nothing is an answer)
        self, name: str, contributions: Mapping[Role, NDArray[np.float64]], group: str | None = None
    ) -> None:
        """Keep what each image contributes to a measurement, so that two models can be compared image by image.

        Args:
            name: Name of the measurement.
            contributions: Role -> ``(n,) float64``, the estimate's influence function at each image of
                ``images(role)``, in order and centred: to first order the estimate is its expectation plus the sum over
                roles of the mean contribution, and its variance the sum of ``var / n``. NaN: the image was not used.
            group: Group of the measurement.
        """

    def withhold_samples(self, rows: Iterable[int]) -> None:  # noqa: B027  (where no card is written)
        """Keep these rows of the samples off the card: they show training images. None of them: say so too."""

    def progress(self, done: int, total: int) -> None:  # noqa: B027  (nobody has to listen)
        """Say that ``done`` of ``total`` steps of a long computation are done; that also keeps the deadline away."""

    def rng(self, purpose: str) -> np.random.Generator:
        """A generator that depends on (run seed, check, purpose) alone."""
        import numpy as np

        key = hashlib.sha256(f"{self.seed}/{self.check}/{purpose}".encode()).digest()
        return np.random.Generator(np.random.PCG64(int.from_bytes(key[:16], "big")))

    def measurement(
        self,
        name: str,
        value: float,
        interval: Interval,
        *,
        n: int,
        unit: str,
        direction: Direction,
        against: Role | None = None,
        uses_extractor: bool = False,
        group: str | None = None,
        floor: float | None = None,
        note: str = "",
        **protocol: SignatureValue,
    ) -> Measurement:
        """Report one number; provenance is stamped here so that no check can forget it.

        Args:
            name: What was measured; unique within (check, group).
            value: Point estimate.
            interval: Its confidence interval.
            n: Images (or pairs) behind it.
            unit: Unit in words.
            direction: Which way is better.
            against: The set of real images it is measured against; its digest enters the signature.
            uses_extractor: True when features or logits were used; the extractor enters the signature.
            group: Group it is about.
            floor: The same measure between two real sets at the same n.
            note: One sentence the reader needs.
            **protocol: Further settings that must be equal before two such numbers are compared.

        Raises:
            EvidenceError: for a value, bound or floor that is not finite.
        """
        signature: dict[str, SignatureValue] = {**self.protocol(), "n": n}
        if against is not None:
            real = self.images(against)
            signature |= {"against": against, "against_digest": real.digest, "against_n": len(real)}
        if uses_extractor:
            info = self.extractor()
            signature |= {"extractor": info.name, "extractor_digest": info.fingerprint, "resize": info.resize}
        signature |= protocol
        return Measurement(
            check=self.check,
            name=name,
            value=float(value),
            interval=interval,
            n=n,
            unit=unit,
            direction=direction,
            signature=signature,
            group=group,
            floor=None if floor is None else float(floor),
            note=note,
        )
