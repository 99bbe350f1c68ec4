"""Every check that is installed here is proven on its own phantoms, whoever wrote it."""

from __future__ import annotations

import fnmatch

import pytest

from ldm_eval.hooks.catalogue import Catalogue, unavailable_reason
from ldm_eval.testing.conformance import assert_conforms

CATALOGUE = Catalogue.discover()
FAMILIES = ("quality", "privacy", "fairness", "misuse")
SEEDS = 20


def test_no_installed_plugin_is_broken() -> None:
    errors = {plugin.name: plugin.error for plugin in CATALOGUE.plugins if plugin.error}
    assert errors == {}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_offers_a_check(family: str) -> None:
    assert any(spec.family == family for spec in CATALOGUE.checks.values())


@pytest.mark.parametrize("check", sorted(CATALOGUE.checks))
def test_installed_check_conforms(check: str) -> None:
    spec = CATALOGUE.checks[check]
    reason = unavailable_reason(spec.requires, spec.extra)
    if reason:
        pytest.skip(reason)
    assert_conforms(spec, seeds=SEEDS)


@pytest.mark.parametrize("suite", sorted(CATALOGUE.suites))
def test_every_suite_selects_a_check(suite: str) -> None:
    for pattern in CATALOGUE.suites[suite].checks:
        assert fnmatch.filter(CATALOGUE.checks, pattern), f"'{pattern}' of '{suite}' selects nothing"
