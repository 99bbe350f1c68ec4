import numpy as np
import pytest
from ldm_eval_misuse.detectability import Detectability
from ldm_eval_misuse.phantoms import shifted_generator
from scipy.special import bdtrc, ndtr

from ldm_eval.api import CheckSpec, Figure, Measurement, NotApplicable, Table
from ldm_eval.hooks.catalogue import Catalogue
from ldm_eval.testing.conformance import assert_conforms
from ldm_eval.testing.evidence import PhantomEvidence


def measure(evidence, name="detection_accuracy"):
    findings = Detectability().run(evidence)
    assert not isinstance(findings, NotApplicable), findings
    return next(f for f in findings if isinstance(f, Measurement) and f.name == name)


def test_it_conforms_to_the_kit_on_both_phantoms():
    assert_conforms(CheckSpec.of(Detectability), seeds=60)


def test_the_control_stays_at_chance_whatever_the_generator_does():
    floors = [measure(shifted_generator(seed, shift=3.0)).floor for seed in range(30)]
    assert np.mean(floors) == pytest.approx(0.5, abs=0.02)


def test_accuracy_and_false_alarms_approach_the_best_possible():
    evidence = [shifted_generator(seed, shift=2.0, samples=2000, real=4000, dimension=4) for seed in range(5)]
    assert np.mean([measure(each).value for each in evidence]) == pytest.approx(ndtr(1.0), abs=0.01)
    alarms = [measure(each, "real_called_generated").value for each in evidence]
    assert np.mean(alarms) == pytest.approx(ndtr(-1.0), abs=0.015)


def test_the_printed_p_is_super_uniform_when_nothing_differs():
    def p(seed):
        table = next(f for f in Detectability().run(shifted_generator(seed)) if isinstance(f, Table))
        return table.rows[0][-1]

    ps = np.array([p(seed) for seed in range(100)])
    for level in (0.05, 0.2):
        assert bdtrc(np.count_nonzero(ps <= level) - 1, 100, level) > 1e-3


def test_it_has_no_better_direction():
    assert measure(shifted_generator(0)).direction == "none"
    assert measure(shifted_generator(0), "real_called_generated").direction == "lower"


def test_the_holdout_is_preferred_and_the_reference_named_when_there_is_none():
    phantom = shifted_generator(0)
    assert measure(phantom).signature["against"] == "holdout"
    features = {role: phantom.features(role) for role in ("samples", "reference")}
    alone = PhantomEvidence("misuse/detectability", 0, features=features)
    assert measure(alone).signature["against"] == "reference"


def test_the_test_and_its_control_use_equally_many_images():
    table = next(f for f in Detectability().run(shifted_generator(0, samples=900, real=1000)) if isinstance(f, Table))
    assert table.rows[0][1] == table.rows[1][1] == 500


def test_too_few_images_are_not_applicable():
    outcome = Detectability().run(shifted_generator(0, samples=500, real=199))
    assert isinstance(outcome, NotApplicable)
    assert "199" in outcome.reason


def test_equal_evidence_gives_equal_findings():
    one, other = (Detectability().run(shifted_generator(7, shift=0.5)) for _ in range(2))
    assert one == other


def test_the_limits_are_said_where_the_number_stands():
    findings = Detectability().run(shifted_generator(0))
    assert "codec" in next(f for f in findings if isinstance(f, Table)).note
    assert "traceable, not good" in measure(shifted_generator(0)).note
    assert next(f for f in findings if isinstance(f, Figure)).lines == {"chance": 0.5}


def test_bursts_of_real_images_are_recognised_unseen_by_the_control_and_the_table_says_so():
    rng = np.random.default_rng(0)
    scenes = np.repeat(rng.standard_normal((60, 64)), 10, axis=0)
    real = (0.9 * scenes + 0.43 * rng.standard_normal((600, 64))).astype(np.float32)
    features = {"samples": rng.standard_normal((300, 64)).astype(np.float32), "holdout": real, "reference": real}
    findings = Detectability().run(PhantomEvidence("misuse/detectability", 0, features=features))
    accuracy = next(f for f in findings if getattr(f, "name", "") == "detection_accuracy")
    assert accuracy.interval.low > 0.5  # though samples and scenes are of one law
    assert accuracy.floor < 0.6
    assert "bursts" in next(f for f in findings if isinstance(f, Table)).note


def test_the_plugin_offers_the_check_and_the_suite():
    catalogue = Catalogue.discover(disabled=["misuse"], extra=["ldm_eval_misuse"])
    assert "misuse/detectability" in catalogue.checks
    assert catalogue.suites["misuse"].checks == ("misuse/*",)
