"""Where the numbers come from and what they leave out: protocol, data, gaps, digests, limits of the instruments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ldm_eval.api import Crashed, Invalid, Measured, Measurement, NotApplicable, SignatureValue
from ldm_eval.gate import Verdict
from ldm_eval.report.markdown import bullet_list, code, code_block, escape, table
from ldm_eval.report.numbers import format_count
from ldm_eval.report.section import FAMILIES, Section, as_text, families, humanise
from ldm_eval.store.certificate import Certificate
from ldm_eval.store.results import CheckRecord, Results

__all__ = [
    "digests_section",
    "limits_section",
    "not_evaluated_section",
    "protocol_section",
    "reproduce_section",
]


def protocol_section(results: Results) -> Section:
    """How the numbers were made: the settings, what all measurements share, and in what each group differs."""
    parts = [_mapping_table("Setting", _settings(results.run))] if results.run else []
    measurements = results.measurements
    if measurements:
        shared = _shared(measurements)
        parts.append(
            "Two numbers may be compared only when they were made alike. **Shared by every measurement here:** "
            + (", ".join(f"{code(name)} {as_text(shared[name])}" for name in sorted(shared)) or "nothing")
            + "."
        )
        rows = [
            (", ".join(names), ", ".join(f"{code(k)} {as_text(v)}" for k, v in own) or "nothing further")
            for own, names in _alike(measurements, shared).items()
        ]
        parts.append(f"**And besides that:**\n\n{table(('Measurements', 'Made with'), rows)}")
    if results.plugins:
        named = [_plugin(plugin) for plugin in results.plugins]
        parts.append(f"Checks from the plugins {', '.join(named)}.")
    return Section("How these numbers were made", "\n\n".join(parts) or "Nothing is recorded.")


def _settings(run: Mapping[str, Any]) -> dict[str, Any]:
    """The settings as they are read: a limit or a number of threads of zero was not set, and is no zero."""
    unset = {"limit": "none", "threads": "all cores"}
    return {name: unset[name] if name in unset and value == 0 else value for name, value in run.items()}


_Own = tuple[tuple[str, SignatureValue], ...]


def _shared(measurements: Sequence[Measurement]) -> dict[str, SignatureValue]:
    first, *others = measurements
    return {
        name: value
        for name, value in first.signature.items()
        if all(name in other.signature and other.signature[name] == value for other in others)
    }


def _alike(measurements: Sequence[Measurement], shared: Mapping[str, SignatureValue]) -> dict[_Own, list[str]]:
    """Measurements that differ from the shared protocol in the same way, together."""
    alike: dict[_Own, list[str]] = {}
    for m in measurements:
        own = tuple(sorted((name, value) for name, value in m.signature.items() if name not in shared))
        names = alike.setdefault(own, [])
        label = code(f"{m.check}: {m.name}")
        if label not in names:
            names.append(label)
    return alike


def _plugin(plugin: Mapping[str, str]) -> str:
    origin = " ".join(filter(None, (plugin.get("distribution", ""), plugin.get("version", ""))))
    return f"{code(plugin.get('name', ''))}{f' ({escape(origin)})' if origin else ''}"


def _mapping_table(heading: str, values: Mapping[str, object]) -> str:
    return table((heading, "Value"), [(escape(humanise(str(k))), as_text(values[k])) for k in sorted(values)])


def not_evaluated_section(results: Results) -> Section:
    """All that has no number, each with its reason; absence is never a pass."""
    rows = [row for record in results.checks for row in [_gap(record)] if row]
    rows += [
        (escape(item.get("check", "")), "unavailable", escape(item.get("reason", ""))) for item in results.unavailable
    ]
    asked = families(
        [record.check for record in results.checks] + [item.get("check", "") for item in results.unavailable]
    )
    missing = [title for family, title in FAMILIES.items() if family not in asked]
    parts = []
    if rows:
        parts.append(table(("Check", "State", "Reason"), rows))
    else:
        parts.append("Every check that was asked for gave an answer.")
    if missing:
        parts.append(f"No check was asked for in: {', '.join(missing)}.")
    if results.partial:
        parts.append("**These results are partial**: `--limit` cut every set of images short, so no gate accepts them.")
    return Section("Not evaluated", "\n\n".join(parts))


def _gap(record: CheckRecord) -> tuple[str, str, str] | None:
    name = f"{escape(record.title)} ({code(record.check)})"
    match record.outcome:
        case NotApplicable(reason):
            return name, "not applicable", escape(reason)
        case Invalid(reason):
            return name, "invalid", escape(reason)
        case Crashed(error):
            return name, "crashed", escape(error)
        case Measured(measurements) if not measurements:
            return name, "no measurement", "The check ran and reported no number."
        case _:
            return None


def reproduce_section(results: Results) -> Section:
    """The one command that makes the results again."""
    versions = ", ".join(f"{escape(name)} {escape(results.tool[name])}" for name in _other_tools(results.tool))
    tool = f"{escape(results.tool.get('name', 'ldm-eval'))} {escape(results.tool.get('version', ''))}".strip()
    made_by = f"Made by {tool}{f' with {versions}' if versions else ''}."
    return Section("How to reproduce", f"{code_block(results.reproduce, 'sh')}\n\n{made_by}")


def _other_tools(tool: Mapping[str, str]) -> list[str]:
    return sorted(set(tool) - {"name", "version"})


def digests_section(results: Results, verdict: Verdict | None, certificate: Certificate | None = None) -> Section:
    """SHA-256 of the model, of every set of images, of the policies, the calibration and of what the card shows."""
    rows = [
        (
            "Model",
            escape(results.model.get("name", "")),
            "–",
            escape(results.model.get("licence") or "") or "not stated",
            code(results.model.get("sha256", "")),
        )
    ]
    rows += [
        (
            f"Images: {escape(data.role)}",
            escape(f"{data.name}:{data.split}" if data.split else data.name),
            format_count(data.n),
            escape(data.licence) or "not stated",
            code(data.digest),
        )
        for data in results.data
    ]
    if results.policy_digest is not None:
        rows.append(("Policy recorded before sampling", "–", "–", "–", code(results.policy_digest)))
    if verdict is not None:
        rows.append(("Policy applied", escape(verdict.policy_name), "–", "–", code(verdict.policy_digest)))
    if certificate is not None:
        rows.append(("Calibration certificate", "calibration.json", "–", "–", code(certificate.digest)))
    rows += [("Artifact", escape(path), "–", "–", code(results.artifacts[path])) for path in sorted(results.artifacts)]
    facts = _model_facts(results.model)
    columns = ("What", "Name", "Images", "Licence", "SHA-256")
    return Section("Model, data and digests", f"{facts}\n\n{table(columns, rows, right=(2,))}")


def _model_facts(model: Mapping[str, object]) -> str:
    """What the checkpoint says of itself; empty fields and the digest (shown below) are left out."""
    facts = {
        name: value for name, value in model.items() if name not in ("sha256", "training") and value not in (None, "")
    }
    parts = [_mapping_table("The model", facts)] if facts else []
    training = model.get("training")
    if isinstance(training, Mapping):
        parts.append(f"What the checkpoint says of its own training: {as_text(training)}.")
    return "\n\n".join(parts)


def limits_section(results: Results) -> Section:
    """What these instruments cannot tell, by rule from what was used."""
    lines = [
        "An interval covers the chance in drawing samples (and what its estimator names). It does not cover the choice "
        "of feature space, of reference images or of classifier.",
        "No sign of copying or leakage is no proof that there is none: another attack, or more samples, may find some.",
        "Numbers hold for this model file, these settings and these images, and for no other.",
        "Nothing here says that the model complies with a law or is fit for a purpose.",
    ]
    extractors = sorted({str(m.signature["extractor"]) for m in results.measurements if m.signature.get("extractor")})
    if extractors:
        named = ", ".join(code(name) for name in extractors)
        lines.insert(
            1,
            f"Features come from {named}: differences that this network does not see do not count, and its numbers "
            "must not be compared with those of another.",
        )
    if any(m.group is not None for m in results.measurements):
        lines.append(
            "Groups are what a classifier perceives or what labels say; its errors are corrected for on average only, "
            "and no single image's group should be believed."
        )
    return Section("Limits of the instruments", bullet_list(lines))
