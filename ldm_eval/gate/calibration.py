"""What a calibration certificate is worth to a run: which instruments it vouches for, and why not the others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from ldm_eval.gate.policy import Policy
from ldm_eval.gate.verdict import RuleResult
from ldm_eval.store.certificate import Certificate, Instrument
from ldm_eval.store.results import Results

__all__ = [
    "MadeBy",
    "calibration_warnings",
    "require_calibration",
    "uncalibrated",
    "uncalibrated_rules",
    "version_difference",
]

_DECIDED = ("pass", "fail", "inconclusive")
"""Answers that rest on a number; the others have no number that a calibration could vouch for."""


@dataclass(frozen=True, slots=True)
class MadeBy:
    """The versions behind numbers: a certificate vouches for these instruments and for no others.

    Attributes:
        tool: Version of ldm-eval.
        plugins: ``[{"name", "distribution", "version"}]``, as results.json and a certificate list them.
    """

    tool: str
    plugins: tuple[Mapping[str, str], ...]

    @classmethod
    def of(cls, results: Results) -> MadeBy:
        """The versions that made these results."""
        return cls(str(results.tool.get("version", "")), tuple(results.plugins))


def uncalibrated(check: str, by: MadeBy, certificate: Certificate | None) -> str:
    """Why a check counts as not calibrated, in one or two sentences; an empty string when it is calibrated.

    Args:
        check: Id of the check.
        by: The versions whose numbers it gave.
        certificate: What a calibration found, or None when there is none.
    """
    if certificate is None:
        return f"Nothing shows that '{check}' is calibrated: there is no calibration certificate."
    named = f"the calibration certificate {certificate.digest[:12]}…"
    instrument = certificate.instrument(check)
    if instrument is None:
        return f"Nothing shows that '{check}' is calibrated: it is not in {named}."
    different = version_difference(instrument, by, certificate)
    if different and (instrument.plugin or instrument.verdict != "failed"):  # one that did not load names no plugin
        return f"'{check}' is not the instrument of {named}: {different}."
    problems = " ".join(instrument.problems)
    if instrument.verdict == "failed":
        return f"'{check}' failed its calibration in {named}: {problems}".rstrip(": ")
    if instrument.verdict == "unavailable":
        return f"'{check}' could not be calibrated in {named}: {problems}".rstrip(": ")
    return ""


def uncalibrated_rules(policy: Policy, by: MadeBy, certificate: Certificate | None) -> tuple[str, ...]:
    """The ids of the rules that end as errors for want of calibration; none where the policy does not require it."""
    if not policy.require_calibration:
        return ()
    return tuple(rule.id for rule in policy.rules if uncalibrated(rule.check, by, certificate))


def require_calibration(
    judged: Iterable[RuleResult], by: MadeBy, certificate: Certificate | None
) -> tuple[RuleResult, ...]:
    """Turn every answer that rests on an uncalibrated instrument into an error; its number stays to be seen.

    A rule without a number (``not_run``, ``invalid``, a crash) keeps its own reason: it is no pass already.

    Args:
        judged: The results as they are without this requirement, before waivers.
        by: The versions that made the numbers.
        certificate: What a calibration found, or None.
    """
    results = tuple(judged)
    checks = ",".join(dict.fromkeys(result.check for result in results))
    return tuple(_required(result, by, certificate, checks) for result in results)


def calibration_warnings(results: Results, policy: Policy, certificate: Certificate | None) -> tuple[str, ...]:
    """What a reader should know of a certificate though it decides nothing."""
    if certificate is None:
        return ()
    by, said = MadeBy.of(results), []
    for check in dict.fromkeys(rule.check for rule in policy.rules):
        why = uncalibrated(check, by, certificate)
        known = certificate.instrument(check) is not None
        if why and known and not policy.require_calibration:  # where it is required, the rule itself says so
            said.append(f"{_sentence(why)} Its rules are decided all the same: the policy requires no calibration.")
    for instrument in certificate.failed:
        if instrument.name.startswith("diffusion/"):
            problems = " ".join(instrument.problems)
            said.append(_sentence(f"The mathematics behind '{instrument.name}' failed its calibration: {problems}"))
    return (*said, *_other_settings(results, policy, certificate), *_other_libraries(results, certificate))


def _required(result: RuleResult, by: MadeBy, certificate: Certificate | None, checks: str) -> RuleResult:
    if result.status not in _DECIDED:
        return result
    why = uncalibrated(result.check, by, certificate)
    if not why:
        return result
    reason = f"The policy requires calibrated instruments. {_sentence(why)} {_advice(result, by, certificate, checks)}"
    return replace(result, status="error", reason=reason, n_needed=None)


def _advice(result: RuleResult, by: MadeBy, certificate: Certificate | None, checks: str) -> str:
    """What to do: a failed instrument must be repaired, everything else calibrated with the versions of the run."""
    command = (
        f"`ldm-eval calibrate --checks {checks} --output calibration.json`, then "
        "`ldm-eval gate DIR --policy FILE --calibration calibration.json`"
    )
    instrument = certificate.instrument(result.check) if certificate else None
    if certificate is None or instrument is None:
        return f"Do: {command}."
    if instrument.plugin and version_difference(instrument, by, certificate):
        return f"With the versions that made these results: {command}; or measure again with the calibrated ones."
    if instrument.verdict == "failed":
        return "Its numbers decide nothing until it is repaired, measures again and is calibrated."
    return f"Install what it needs, then: {command}."


def version_difference(instrument: Instrument, by: MadeBy, certificate: Certificate) -> str:
    """Which version differs between certificate and run, in words; empty when all are the same and known."""
    tool = certificate.tool.get("version", "")
    if tool != by.tool:
        return f"it is of ldm-eval {tool or '(no version)'}, these numbers are by ldm-eval {by.tool or '(no version)'}"
    calibrated, used = (_versions(instrument.plugin, plugins) for plugins in (certificate.plugins, by.plugins))
    if not calibrated or not used:
        which = "it" if not calibrated else "the run"
        return f"{which} names no plugin of '{instrument.plugin}'"
    if calibrated == {""} and used == {""}:
        return f"'{instrument.plugin}' has no version by which it could be recognised (install it as a package)"
    if calibrated != used:
        return (
            f"it is of {instrument.plugin} {_listed(calibrated)}, these numbers are by "
            f"{instrument.plugin} {_listed(used)}"
        )
    return ""


def _versions(owner: str, plugins: Iterable[Mapping[str, str]]) -> set[str]:
    """The versions of a distribution (of a module that no package registers: of the plugin itself)."""
    return {p.get("version", "") for p in plugins if owner in _names(p)}


def _names(plugin: Mapping[str, str]) -> tuple[str, ...]:
    """By what an instrument may name its plugin; a distribution where there is one."""
    return tuple(filter(None, (plugin.get("distribution", ""), plugin.get("name", ""))))


def _listed(versions: set[str]) -> str:
    return ", ".join(version or "without a version" for version in sorted(versions))


def _other_settings(results: Results, policy: Policy, certificate: Certificate) -> tuple[str, ...]:
    """Checks that were measured with parameters of their own: calibrated was what the checks do by default."""
    own = results.run.get("check_parameters")
    own = own if isinstance(own, Mapping) else {}
    asked = {rule.check for rule in policy.rules}
    named = [check for check in sorted(asked & set(own)) if own[check] and certificate.instrument(check)]
    if not named:
        return ()
    return (f"Measured with settings of the run's own, and calibrated with the default ones: {', '.join(named)}.",)


def _other_libraries(results: Results, certificate: Certificate) -> tuple[str, ...]:
    different = [
        f"{name} {version} (the results: {results.tool[name]})"
        for name, version in sorted(certificate.libraries.items())
        if name in results.tool and results.tool[name] != version
    ]
    return (f"The calibration used other libraries than the run: {', '.join(different)}.",) if different else ()


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."
