"""The YAML block that the Hugging Face hub reads: licence, tags and the model index with every measurement."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ldm_eval.api import Measurement
from ldm_eval.report.declared import declared_licence
from ldm_eval.report.markdown import plain, slug
from ldm_eval.report.section import humanise
from ldm_eval.store.results import DataRecord, Results

__all__ = ["TASK", "front_matter", "model_index"]

TASK = "unconditional-image-generation"
_LIBRARIES = {"diffusers": "diffusers"}
_SPDX = re.compile(
    r"(apache-2\.0|mit|openrail(\+\+)?|creativeml-openrail-m|bigscience-(openrail-m|bloom-rail-1\.0)|afl-3\.0|artistic-2\.0"
    r"|bsl-1\.0|bsd(-[23]-clause(-clear)?)?|cc(0-1\.0|-by(-nc)?(-sa|-nd)?-[234]\.[05])?|ecl-2\.0|epl-[12]\.0|eupl-1\.1"
    r"|(a|l)?gpl(-[23]\.[01])?|isc|ms-pl|mpl-2\.0|odc-by|odbl|postgresql|unlicense|wtfpl|zlib|unknown|other)"
)
"""Licence identifiers the hub knows; any other is written as ``other`` with its name."""


class _OneLine(dict[str, Any]):
    """A mapping that YAML writes on one line."""


def front_matter(results: Results, declared: Mapping[str, Any] | None) -> str:
    """The block between ``---`` lines. No ``verified`` field: that word is the hub's, not ours."""
    import yaml

    licence = plain(declared_licence(declared) or results.model.get("licence") or "unknown")
    known = licence.lower() if _SPDX.fullmatch(licence.lower()) else "other"
    document: dict[str, Any] = {"license": known}
    if known == "other" and licence.lower() != "other":
        document["license_name"] = licence
    document |= {
        "library_name": _LIBRARIES.get(str(results.model.get("backend", "")), "ldm-eval"),
        "pipeline_tag": TASK,
        "tags": ["diffusion", "image-generation", "ldm-eval"],
        "model-index": model_index(results),
    }

    class Dumper(yaml.SafeDumper):
        """Writes the arguments of a metric on one line, so that the block above the card stays short."""

    Dumper.add_representer(
        _OneLine, lambda dumper, args: dumper.represent_mapping("tag:yaml.org,2002:map", args.items(), flow_style=True)
    )
    text = yaml.dump(document, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=10**9)  # a SafeDumper
    return f"---\n{text}---\n"


def model_index(results: Results) -> list[dict[str, Any]]:
    """One entry whose results are grouped by the set of images they are measured against."""
    grouped: dict[str, list[dict[str, Any]]] = {}
    for measurement in results.measurements:
        grouped.setdefault(str(measurement.signature.get("against") or "samples"), []).append(_metric(measurement))
    entries = [
        {
            "task": {"type": TASK, "name": "Unconditional image generation"},
            "dataset": _dataset(results, role),
            "metrics": m,
        }
        for role, m in grouped.items()
    ]
    return [{"name": plain(results.model.get("name")) or "unnamed", "results": entries}] if entries else []


def _dataset(results: Results, role: str) -> dict[str, str]:
    """The hub groups results by these fields alone, so the role is part of the name."""
    record = next((record for record in results.data if record.role == role), None)
    if record is None:
        record = DataRecord(role, "generated samples" if role == "samples" else role, "", "", 0, "")
    dataset = {"type": slug(record.name), "name": plain(f"{record.name} ({role})")}
    if record.split:
        dataset["split"] = plain(record.split)
    if record.digest:
        dataset["revision"] = plain(record.digest)
    return dataset


def _metric(measurement: Measurement) -> dict[str, Any]:
    group = measurement.group
    name = humanise(measurement.name) + (f" ({plain(group)})" if group is not None else "")
    interval = measurement.interval
    args: dict[str, Any] = {
        "check": plain(measurement.check),
        "n": measurement.n,
        "low": interval.low,
        "high": interval.high,
        "level": interval.level,
        "sided": interval.sided,
        "estimator": plain(interval.estimator),
        "unit": plain(measurement.unit),
        "direction": measurement.direction,
    }
    if group is not None:
        args["group"] = plain(group)
    if measurement.floor is not None:
        args["floor"] = measurement.floor
    args["protocol"] = {plain(key): _scalar(measurement.signature[key]) for key in sorted(measurement.signature)}
    return {
        "type": slug(measurement.name),
        "name": name,
        "value": measurement.value,
        "config": plain(group) if group is not None else "all",
        "args": _OneLine(args),
    }


def _scalar(value: object) -> object:
    return plain(value) if isinstance(value, str) else value
