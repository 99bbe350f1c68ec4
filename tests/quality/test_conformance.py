import pytest
from ldm_eval_quality import ldm_eval_checks, ldm_eval_suites

from ldm_eval.api import CheckSpec
from ldm_eval.testing.conformance import assert_conforms

CHECKS = {spec.id: spec for spec in ldm_eval_checks()}


@pytest.mark.parametrize("spec", CHECKS.values(), ids=CHECKS)
def test_check_catches_its_phantom_and_leaves_the_other_alone(spec: CheckSpec) -> None:
    report = assert_conforms(spec, seeds=20)
    assert report.catches is not None
    assert report.leaves_alone is not None


def test_suite_names_the_whole_family() -> None:
    (suite,) = ldm_eval_suites()
    assert (suite.name, suite.checks) == ("quality", ("quality/*",))
    assert {spec.family for spec in CHECKS.values()} == {"quality"}
