"""A gate policy: which measurement must stay on which side of which limit, written in TOML and read strictly."""

from __future__ import annotations

import hashlib
import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any, Literal, cast

from ldm_eval.api import SignatureValue
from ldm_eval.errors import PolicyError, did_you_mean

__all__ = ["SCHEMA_VERSION", "Limit", "Policy", "Rule", "Severity", "Waiver", "load_policy", "parse_policy"]

SCHEMA_VERSION = 1
Severity = Literal["block", "warn"]

_POLICY_KEYS = ("schema_version", "name", "require_calibration", "rules", "waivers")
_LIMIT_KEYS = ("at_most", "at_least", "within")
_RULE_KEYS = ("id", "check", "measurement", "group", *_LIMIT_KEYS, "severity", "min_n", "why", "signature")
_WAIVER_KEYS = ("rule", "reason", "owner", "expires", "model_sha256")
_HEX_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Limit:
    """What a measurement must satisfy: ``lowest <= truth <= highest``; None is no limit on that side."""

    lowest: float | None = None
    highest: float | None = None

    def __str__(self) -> str:
        lowest, highest = (repr(bound).removesuffix(".0") for bound in (self.lowest, self.highest))
        if self.lowest is None:
            return f"at most {highest}"
        return f"at least {lowest}" if self.highest is None else f"within {lowest} to {highest}"


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of a policy.

    Attributes:
        id: Unique name of the rule.
        check: Id of the check.
        measurement: Name of the measurement.
        group: Group it is about; None for the measurement over all images.
        limit: What the bound of its interval must satisfy.
        severity: ``block`` decides the gate; ``warn`` is shown and never blocks.
        min_n: With fewer images (or pairs) than this the rule is inconclusive whatever the bound.
        why: The reason for the limit, for the card.
        signature: Protocol fields that must have exactly these values.
    """

    id: str
    check: str
    measurement: str
    limit: Limit
    group: str | None = None
    severity: Severity = "block"
    min_n: int | None = None
    why: str = ""
    signature: Mapping[str, SignatureValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Waiver:
    """Somebody takes responsibility for one rule not being passed, by one model, until one day (included)."""

    rule: str
    reason: str
    owner: str
    expires: date
    model_sha256: str


@dataclass(frozen=True, slots=True)
class Policy:
    """Rules and waivers.

    Attributes:
        name: Name of the policy.
        digest: SHA-256 of the bytes of the file.
        rules: At least one.
        waivers: At most one per rule.
        require_calibration: A rule whose check no certificate shows to be calibrated, in the versions that measured,
            is an error.
    """

    name: str
    digest: str
    rules: tuple[Rule, ...]
    waivers: tuple[Waiver, ...] = ()
    require_calibration: bool = False


def load_policy(path: Path) -> Policy:
    """Read a policy file.

    Raises:
        PolicyError: when it is missing, is not TOML, or says anything this version does not know.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise PolicyError(f"Cannot read the policy {path}: {error.strerror or error}.") from error
    try:
        document = tomllib.loads(content.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PolicyError(f"The policy {path} is not valid TOML: {error}.") from error
    return parse_policy(document, hashlib.sha256(content).hexdigest(), str(path))


def parse_policy(document: Mapping[str, Any], digest: str, where: str = "the policy") -> Policy:
    """Build a policy from a TOML document.

    Args:
        document: As ``tomllib`` reads it.
        digest: SHA-256 of the file it came from.
        where: What to call it in messages.

    Raises:
        PolicyError: for an unknown key, a missing key, a value that cannot be meant, no rule, or a name used twice.
    """
    _refuse_unknown(document, _POLICY_KEYS, where)
    version = document.get("schema_version")
    if version != SCHEMA_VERSION or isinstance(version, bool):
        raise PolicyError(f"{where}: schema_version must be {SCHEMA_VERSION}; found {_found(version)}.")
    rules = tuple(_rule(item, f"{where}, rule {i}") for i, item in _tables(document, "rules", where))
    if not rules:
        raise PolicyError(f"{where}: there is no [[rules]] entry; a policy without rules would pass anything.")
    _refuse_twice([rule.id for rule in rules], "rules have the id", where)
    waivers = tuple(_waiver(item, f"{where}, waiver {i}") for i, item in _tables(document, "waivers", where))
    _refuse_twice([waiver.rule for waiver in waivers], "waivers are for the rule", where)
    ids = [rule.id for rule in rules]
    for waiver in waivers:
        if waiver.rule not in ids:
            hint = did_you_mean(waiver.rule, ids)
            raise PolicyError(f"{where}: a waiver names the rule '{waiver.rule}', which does not exist.{hint}")
    required = document.get("require_calibration", False)
    if not isinstance(required, bool):
        raise PolicyError(f"{where}: require_calibration must be true or false, unquoted; found {_found(required)}.")
    return Policy(_text(document, "name", where), digest, rules, waivers, required)


def _rule(item: Mapping[str, Any], where: str) -> Rule:
    _refuse_unknown(item, _RULE_KEYS, where)
    name = _text(item, "id", where)
    where = f"{where} ('{name}')"
    severity = item.get("severity", "block")
    if severity not in ("block", "warn"):
        hint = did_you_mean(severity, ("block", "warn")) if isinstance(severity, str) else ""
        raise PolicyError(f"{where}: severity must be 'block' or 'warn'; found {_found(severity)}.{hint}")
    min_n = item.get("min_n")
    if min_n is not None and (not isinstance(min_n, int) or isinstance(min_n, bool) or min_n < 1):
        raise PolicyError(f"{where}: min_n must be a whole number of at least 1; found {_found(min_n)}.")
    check = _text(item, "check", where)
    if "/" not in check:
        raise PolicyError(f"{where}: check must be an id such as 'quality/frechet_distance'; found '{check}'.")
    return Rule(
        id=name,
        check=check,
        measurement=_text(item, "measurement", where),
        limit=_limit(item, where),
        group=_text(item, "group", where) if "group" in item else None,
        severity=cast(Severity, severity),
        min_n=min_n,
        why=_text(item, "why", where) if "why" in item else "",
        signature=_pinned(item.get("signature", {}), where),
    )


def _limit(item: Mapping[str, Any], where: str) -> Limit:
    given = [key for key in _LIMIT_KEYS if key in item]
    if len(given) != 1:
        raise PolicyError(f"{where}: give exactly one of {', '.join(_LIMIT_KEYS)}; found {', '.join(given) or 'none'}.")
    raw = item[given[0]]
    if given[0] == "at_most":
        return Limit(highest=_number(raw, where, "at_most"))
    if given[0] == "at_least":
        return Limit(lowest=_number(raw, where, "at_least"))
    if not isinstance(raw, list) or len(raw) != 2:
        raise PolicyError(f"{where}: within must be two numbers, [lowest, highest]; found {_found(raw)}.")
    lowest, highest = (_number(bound, where, "within") for bound in raw)
    if lowest >= highest:
        raise PolicyError(f"{where}: within must be [lowest, highest] with lowest < highest; found {_found(raw)}.")
    return Limit(lowest, highest)


def _pinned(raw: Any, where: str) -> dict[str, SignatureValue]:
    if not isinstance(raw, dict):
        raise PolicyError(f"{where}: signature must be a table of protocol fields; found {_found(raw)}.")
    for key, value in raw.items():
        if not isinstance(value, str | int | float | bool):
            raise PolicyError(
                f"{where}: signature field '{key}' must be text, a number or a boolean; found {_found(value)}."
            )
    return dict(raw)


def _waiver(item: Mapping[str, Any], where: str) -> Waiver:
    _refuse_unknown(item, _WAIVER_KEYS, where)
    expires = item.get("expires")
    if not isinstance(expires, date) or isinstance(expires, datetime):
        raise PolicyError(f"{where}: expires must be a date such as 2027-01-31, unquoted; found {_found(expires)}.")
    digest = _text(item, "model_sha256", where).lower()
    if not _HEX_DIGEST.fullmatch(digest):
        raise PolicyError(
            f"{where}: model_sha256 must be the 64 hexadecimal digits of the model's digest, as results.json shows "
            f"them under model.sha256; found '{digest}'."
        )
    return Waiver(
        rule=_text(item, "rule", where),
        reason=_text(item, "reason", where),
        owner=_text(item, "owner", where),
        expires=expires,
        model_sha256=digest,
    )


def _tables(document: Mapping[str, Any], key: str, where: str) -> list[tuple[int, Mapping[str, Any]]]:
    items = document.get(key, [])
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise PolicyError(f"{where}: '{key}' must be written as [[{key}]] tables.")
    return list(enumerate(items, start=1))


def _text(item: Mapping[str, Any], key: str, where: str) -> str:
    value = item.get(key)
    if not isinstance(value, str) or not value.strip():
        raise PolicyError(f"{where}: '{key}' must be a text that is not empty; found {_found(value)}.")
    return value


def _number(raw: Any, where: str, key: str) -> float:
    if isinstance(raw, bool) or not isinstance(raw, int | float) or not math.isfinite(raw):
        raise PolicyError(f"{where}: {key} must be a finite number; found {_found(raw)}.")
    return float(raw)


def _found(value: object) -> str:
    return "nothing" if value is None else repr(value)


def _refuse_unknown(item: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    for key in item:
        if key not in known:
            raise PolicyError(f"{where}: there is no key '{key}'.{did_you_mean(key, known)} Known: {', '.join(known)}.")


def _refuse_twice(names: list[str], what: str, where: str) -> None:
    for name in names:
        if names.count(name) > 1:
            raise PolicyError(f"{where}: {names.count(name)} {what} '{name}'; only one may.")
