"""What the shares are held against: the training data, equal shares, or a table the user declares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import fsum
from typing import final

from ldm_eval.api import UNKNOWN, Invalid, NotApplicable, Scalar
from ldm_eval.errors import ConfigError, did_you_mean

__all__ = ["Targets", "declared_targets"]

_PREFIX = "target."
_CHOICES = ("training", "uniform")


@final
@dataclass(frozen=True, slots=True)
class Targets:
    """Target share of every class, in the classifier's order.

    Attributes:
        source: Where they come from, for people: ``"training data"``.
        shares: One per class, summing to one.
    """

    source: str
    shares: tuple[float, ...]


def declared_targets(
    parameters: Mapping[str, Scalar], classes: Sequence[str], declared: Mapping[str, float]
) -> Targets | NotApplicable | Invalid:
    """Read the targets from a check's settings.

    Args:
        parameters: ``target`` (``"training"``, the default, or ``"uniform"``), or ``target.<class>`` for every class.
        classes: What the classifier tells apart.
        declared: Class -> share in the training data by the labels that came with it; may be empty.

    Raises:
        ConfigError: for a setting that cannot be used.
    """
    table = {name.removeprefix(_PREFIX): share for name, share in parameters.items() if name.startswith(_PREFIX)}
    choice = parameters.get("target", "training")
    if table:
        if "target" in parameters:
            raise ConfigError("Both target and target.<class> are set for fairness/representation; leave one out.")
        return _user_table(table, classes)
    if choice not in _CHOICES:
        raise ConfigError(
            f"target = {choice!r} for fairness/representation: known are {', '.join(_CHOICES)}, or one "
            f"target.<class> = share for every class.{did_you_mean(str(choice), _CHOICES)}"
        )
    if choice == "uniform":
        return Targets("equal shares", tuple(1 / len(classes) for _ in classes))
    return _training_shares(classes, declared)


def _user_table(table: Mapping[str, Scalar], classes: Sequence[str]) -> Targets:
    for name in sorted(set(table) - set(classes)):
        raise ConfigError(
            f"target.{name}: the classifier does not tell this class; it tells {', '.join(classes)}."
            f"{did_you_mean(name, classes)}"
        )
    missing = [name for name in classes if name not in table]
    if missing:
        raise ConfigError(f"target.<class> must be given for every class; missing: {', '.join(missing)}.")
    shares = []
    for name in classes:
        share = table[name]
        if isinstance(share, bool | str) or not 0 <= share <= 1:
            raise ConfigError(f"target.{name} = {share!r}: a share is a number from 0 to 1.")
        shares.append(float(share))
    total = fsum(shares)
    if abs(total - 1) > 1e-3:
        raise ConfigError(f"The shares target.<class> sum to {total:.4g}; they must sum to 1.")
    return Targets("declared by the user", tuple(share / total for share in shares))


def _training_shares(classes: Sequence[str], declared: Mapping[str, float]) -> Targets | NotApplicable | Invalid:
    known = {name: share for name, share in declared.items() if name != UNKNOWN and share > 0}
    if not known:
        return NotApplicable(
            'The training data carry no labels of this attribute, so there is no target. Set target = "uniform" or '
            "target.<class> = share for every class."
        )
    strange = sorted(set(known) - set(classes))
    if strange:
        return Invalid(
            f"The training data hold {', '.join(strange)}, which the classifier cannot tell (it tells "
            f"{', '.join(classes)}); label real images of these classes or declare target.<class>."
        )
    total = fsum(known.values())
    return Targets("training data", tuple(known.get(name, 0.0) / total for name in classes))
