"""``calibration.json``: which instruments were put before their phantoms, with which versions, and what they saw.

It holds no time and no host name: the same installation calibrated twice with the same seeds gives the same bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from ldm_eval.errors import StoreError
from ldm_eval.store.atomic import canonical_json, read_json, write_json

__all__ = [
    "CERTIFICATE_VERSION",
    "CalibratedCase",
    "Calibration",
    "Certificate",
    "Instrument",
    "Rate",
    "instrument_from_json",
    "load_certificate",
    "save_certificate",
]

CERTIFICATE_VERSION = 1

Calibration = Literal["calibrated", "failed", "unavailable"]
"""How an instrument's calibration ended; ``unavailable``: it cannot run here (a missing extra)."""


@dataclass(frozen=True, slots=True)
class Rate:
    """``count`` of ``of`` with its exact interval (Clopper-Pearson, two-sided at ``level``)."""

    count: int
    of: int
    low: float
    high: float
    level: float


@dataclass(frozen=True, slots=True)
class CalibratedCase:
    """One phantom and what an instrument said of it.

    Attributes:
        case: ``"catches"``, ``"leaves_alone"``, or for the diffusion mathematics the name of the comparison.
        effect: The phantom in words.
        expected: What was promised, in words: ``"alarm in at least 95 %"``.
        alarms: Alarms raised, of the seeds that gave an answer; None where there is no alarm (a tolerance).
        coverage: Intervals that held the true value, where it is known.
        truth: That value.
        observed: Of a comparison with a closed form: the largest error; None for phantoms with seeds.
        tolerance: What ``observed`` may be at most.
    """

    case: str
    effect: str
    expected: str
    alarms: Rate | None = None
    coverage: Rate | None = None
    truth: float | None = None
    observed: float | None = None
    tolerance: float | None = None


@dataclass(frozen=True, slots=True)
class Instrument:
    """One check (or one part of the diffusion mathematics), its cases and the verdict.

    Attributes:
        name: Id of the check, or ``"diffusion/..."``.
        plugin: Distribution that offers it.
        verdict: How it ended.
        problems: One sentence each; empty when calibrated.
        cases: What was run.
    """

    name: str
    plugin: str
    verdict: Calibration
    problems: tuple[str, ...]
    cases: tuple[CalibratedCase, ...]


@dataclass(frozen=True, slots=True)
class Certificate:
    """Everything a calibration found.

    Attributes:
        tool: ``{"name", "version"}``.
        plugins: ``[{"name", "distribution", "version"}]`` of the plugins whose instruments ran, as in results.json.
        libraries: Library -> version of what the numbers rest on (numpy, scipy, torch), and ``python``.
        seeds: Seeds per phantom.
        first_seed: The first of the consecutive seeds.
        instruments: By name.
    """

    tool: Mapping[str, str]
    plugins: tuple[Mapping[str, str], ...]
    libraries: Mapping[str, str]
    seeds: int
    first_seed: int
    instruments: tuple[Instrument, ...]

    @property
    def digest(self) -> str:
        """SHA-256 of the content, by which a card or a verdict cites it."""
        return hashlib.sha256(canonical_json(self._content(), indent=None).encode()).hexdigest()

    @property
    def failed(self) -> tuple[Instrument, ...]:
        """The instruments that did not keep their promises."""
        return tuple(one for one in self.instruments if one.verdict == "failed")

    def instrument(self, name: str) -> Instrument | None:
        """The instrument of this name, or None when it was not calibrated."""
        return next((one for one in self.instruments if one.name == name), None)

    def to_json(self) -> dict[str, Any]:
        """The document of ``calibration.json``; ``digest`` is over everything else in it."""
        return {**self._content(), "digest": self.digest}

    def _content(self) -> dict[str, Any]:
        return {"schema_version": CERTIFICATE_VERSION, **asdict(self)}


def save_certificate(certificate: Certificate, path: Path) -> None:
    """Write it atomically. Raises StoreError."""
    write_json(path, certificate.to_json())


def load_certificate(path: Path) -> Certificate:
    """Read a certificate.

    Raises:
        StoreError: when it is missing, of another version, not of this form, or was edited (the digest differs).
    """
    document = read_json(path)
    if not isinstance(document, dict) or document.get("schema_version") != CERTIFICATE_VERSION:
        raise StoreError(
            f"{path} is no calibration certificate of version {CERTIFICATE_VERSION}. `ldm-eval calibrate` makes one."
        )
    try:
        certificate = Certificate(
            tool=dict(document["tool"]),
            plugins=tuple(dict(plugin) for plugin in document["plugins"]),
            libraries=dict(document["libraries"]),
            seeds=int(document["seeds"]),
            first_seed=int(document["first_seed"]),
            instruments=tuple(instrument_from_json(one) for one in document["instruments"]),
        )
        stated, found = document["digest"], certificate.digest  # a NaN is not canonical JSON: ValueError
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StoreError(
            f"{path} is not a calibration certificate that can be read ({type(error).__name__}: {error}). "
            "Make it again with `ldm-eval calibrate`."
        ) from error
    if found != stated:
        raise StoreError(
            f"{path} was changed after it was written: its content does not have the digest it states. Make it again "
            "with `ldm-eval calibrate`."
        )
    return certificate


def instrument_from_json(item: Mapping[str, Any]) -> Instrument:
    """One entry of ``instruments``. Raises KeyError, TypeError or ValueError for what is none."""
    if item["verdict"] not in get_args(Calibration):
        raise ValueError(f"verdict {item['verdict']!r}")
    return Instrument(
        name=str(item["name"]),
        plugin=str(item["plugin"]),
        verdict=item["verdict"],
        problems=tuple(str(problem) for problem in item["problems"]),
        cases=tuple(_case(case) for case in item["cases"]),
    )


def _case(item: Mapping[str, Any]) -> CalibratedCase:
    rates = {name: None if item[name] is None else _rate(item[name]) for name in ("alarms", "coverage")}
    return CalibratedCase(**{**item, **rates})


def _rate(item: Mapping[str, Any]) -> Rate:
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in item.values()):
        raise TypeError(f"a rate of {dict(item)!r}")
    return Rate(**item)
