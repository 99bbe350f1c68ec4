"""docs/privacy.md leads to every check that is installed."""

from __future__ import annotations

from pathlib import Path

import ldm_eval_privacy
import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("spec", ldm_eval_privacy.ldm_eval_checks(), ids=lambda spec: spec.id)
def test_every_check_stands_in_the_table_with_its_primary_measurement_and_alarm(spec):
    page = f"checks/{spec.id.replace('/', '-').replace('_', '-')}.md"
    rows = [line for line in (DOCS / "privacy.md").read_text().split("\n") if line.startswith(f"| [{spec.id}]({page})")]
    (row,) = rows
    alarm = spec.phantoms.alarm
    side = "above" if alarm.comparison == ">" else "below"
    assert f"`{spec.phantoms.measurement}`" in row
    assert f"{'lower' if alarm.bound == 'low' else 'upper'} bound {side} {alarm.threshold:g}" in row
