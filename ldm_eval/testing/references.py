"""Phantom references: ``phantom:NAME?key=value&key=value``, all that is needed to build the model again elsewhere."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import final
from urllib.parse import unquote

from ldm_eval.api import DataRef, ImageSet
from ldm_eval.errors import DataError, ModelError, did_you_mean

__all__ = ["PREFIX", "PhantomRef", "load_images"]

PREFIX = "phantom:"


@final
@dataclass(frozen=True, slots=True)
class PhantomRef:
    """A parsed reference: the phantom's name and its parameters as text.

    The getters turn a parameter into what it is and say which one is wrong; ``%26`` stands for ``&`` in a value.
    """

    name: str
    parameters: Mapping[str, str]

    @classmethod
    def parse(cls, text: str) -> PhantomRef:
        """Read ``phantom:NAME?key=value&...``.

        Raises:
            ModelError: for a part without ``=`` or a parameter given twice.
        """
        name, _, query = text.removeprefix(PREFIX).partition("?")
        parameters: dict[str, str] = {}
        for part in query.split("&") if query else []:
            key, equals, value = part.partition("=")
            if not equals or not key or key in parameters:
                raise ModelError(
                    f"'{text}': found '{part}' where a parameter was expected, each one once. "
                    "Write phantom:NAME?key=value&key=value."
                )
            parameters[key] = unquote(value)
        return cls(name, parameters)

    def refuse_unknown(self, known: Iterable[str]) -> None:
        """Raise ModelError when a parameter is none of ``known``."""
        names = sorted(known)
        for key in self.parameters:
            if key not in names:
                raise ModelError(
                    f"phantom:{self.name} has no parameter '{key}'.{did_you_mean(key, names)} "
                    f"It takes: {', '.join(names)}."
                )

    def text(self, key: str, default: str | None = None) -> str:
        """A parameter as it is. Raises ModelError when it is missing and has no default."""
        value = self.parameters.get(key, default)
        if value is None:
            raise ModelError(f"phantom:{self.name} needs the parameter '{key}': phantom:{self.name}?{key}=...")
        return value

    def choice(self, key: str, known: Iterable[str], default: str) -> str:
        """One of ``known``. Raises ModelError for anything else."""
        value, names = self.text(key, default), sorted(known)
        if value not in names:
            raise self._wrong(key, value, f"one of {', '.join(names)}", did_you_mean(value, names))
        return value

    def number(self, key: str, default: float, low: float = -math.inf, high: float = math.inf) -> float:
        """A finite number in ``low .. high``. Raises ModelError for anything else."""
        return self._number(key, self.text(key, repr(default)), low, high)

    def integer(self, key: str, default: int, low: int) -> int:
        """A whole number, at least ``low``. Raises ModelError for anything else."""
        value = self.text(key, str(default))
        if not value.isdecimal() or int(value) < low:
            raise self._wrong(key, value, f"a whole number, {low} or more")
        return int(value)

    def numbers(self, key: str, default: str) -> tuple[float, ...]:
        """Numbers with commas between them. Raises ModelError for anything else."""
        return tuple(self._number(key, part, -math.inf, math.inf) for part in self.text(key, default).split(","))

    def numbers_by_name(self, key: str, default: str) -> dict[str, float]:
        """``name:number`` with commas between them. Raises ModelError for anything else."""
        found: dict[str, float] = {}
        for part in filter(None, self.text(key, default).split(",")):
            name, colon, number = part.partition(":")
            if not name or not colon or name in found:
                raise self._wrong(key, part, "name:number with commas between them, each name once")
            found[name] = self._number(key, number, -math.inf, math.inf)
        return found

    def shape(self, key: str, default: str) -> tuple[int, int, int]:
        """``CxHxW`` with C of 1 or 3. Raises ModelError for anything else."""
        value = self.text(key, default)
        sizes = [int(part) if part.isdecimal() else 0 for part in value.split("x")]
        if len(sizes) != 3 or min(sizes) < 1 or sizes[0] not in (1, 3):
            raise self._wrong(key, value, "CxHxW with one or three channels, such as 1x8x8")
        channels, height, width = sizes
        return channels, height, width

    def _number(self, key: str, value: str, low: float, high: float) -> float:
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not math.isfinite(number) or not low <= number <= high:
            within = "" if low == -math.inf and high == math.inf else f" from {low:g} to {high:g}"
            raise self._wrong(key, value, f"a number{within}")
        return number

    def _wrong(self, key: str, value: str, wanted: str, hint: str = "") -> ModelError:
        return ModelError(f"phantom:{self.name}: '{key}' must be {wanted}; found '{value}'.{hint}")


def load_images(text: str) -> ImageSet:
    """Read the images that ``text`` names, with whichever installed dataset knows it best.

    Raises:
        ModelError: when none does, or it cannot be read.
    """
    from ldm_eval.hooks.catalogue import Catalogue, unavailable_reason

    ref = DataRef(text)
    datasets = Catalogue.discover().datasets.values()
    best = max(datasets, key=lambda spec: spec.recognises(ref), default=None)
    if best is None or best.recognises(ref) <= 0:
        known = ", ".join(sorted(spec.name for spec in datasets)) or "none"
        raise ModelError(
            f"No dataset is called '{text}' and no images are there. "
            f"Give a folder, zip or npz file, or a named dataset; installed: {known}."
        )
    reason = unavailable_reason(best.requires, best.extra)
    if reason:
        raise ModelError(f"A phantom could not read '{text}': {reason}")
    name, split = ref.name_and_split
    asked = split if name == best.name else ""
    try:
        return best.load(ref, asked or (best.splits[0] if best.splits else ""))
    except DataError as error:
        raise ModelError(f"A phantom could not read its images. {error}") from error
