import numpy as np
import pytest
from ldm_eval_privacy.attack_phantoms import exact_law, memoriser
from ldm_eval_privacy.attacks import ATTACKS, columns_of
from ldm_eval_privacy.dataset_inference import DatasetInference
from scipy.stats import binom, ttest_ind

from ldm_eval.api import Figure, Invalid, Measurement, NotApplicable, Scores, Table
from ldm_eval.testing.evidence import PhantomEvidence, image_set

CHECK = "privacy/dataset_inference"


def run(evidence):
    return DatasetInference().run(evidence)


def gap(findings):
    assert isinstance(findings, list), findings
    (found,) = [one for one in findings if isinstance(one, Measurement)]
    return found


def p_value(found):
    return float(found.note.partition("holdout images: ")[2].split(". ")[0])


def evidence(seed, n=200, shift=0.0, tail=1.0):
    """Log-normal scores; every column of members is lower by ``shift`` standard deviations of its logarithm."""
    rng = np.random.default_rng([seed, 7])
    pixels = {role: rng.integers(0, 256, size=(n, 1, 6, 6), dtype=np.uint8) for role in ("training", "holdout")}
    mixing = np.random.default_rng(9).normal(size=(36, 20)) / 255

    def values(role, attack):
        rows = rng.normal(size=(n, len(columns_of(attack.score)))) - (shift if role == "training" else 0.0)
        return Scores(np.arange(n), np.exp(tail * rows).astype(np.float32))

    return PhantomEvidence(
        CHECK,
        seed,
        images={role: image_set(one, role) for role, one in pixels.items()},
        features={role: (one.reshape(n, -1) @ mixing).astype(np.float32) for role, one in pixels.items()},
        scores={attack.score.name: {role: values(role, attack) for role in pixels} for attack in ATTACKS},
    )


def test_a_set_of_which_a_part_is_memorised_is_named():
    seeds = 20
    found = [run(memoriser(seed, known=0.3, check=CHECK)) for seed in range(seeds)]
    measured = [gap(one) for one in found if not isinstance(one, Invalid)]
    assert sum(one.interval.low > 0 for one in measured) >= binom.ppf(0.001, seeds, 0.925)
    assert all("An owner would need about" in one.note for one in measured if one.interval.low > 0)


def test_the_exact_law_is_not_accused_and_its_gap_is_zero():
    seeds = 60
    found = [run(exact_law(seed, check=CHECK)) for seed in range(2000, 2000 + seeds)]
    measured = [gap(one) for one in found if not isinstance(one, Invalid)]
    assert sum(one.interval.low > 0 for one in measured) <= binom.ppf(0.999, seeds, 0.025)
    covered = sum(one.interval.low <= 0 <= one.interval.high for one in measured)
    assert covered >= binom.ppf(0.001, len(measured), 0.94)
    assert seeds - len(measured) <= binom.ppf(0.999, seeds, 0.025)


@pytest.mark.parametrize("tail", [1.0, 6.0])
def test_p_values_are_uniform_when_labels_say_nothing(tail):
    rounds = 200
    found = [run(evidence(seed, n=100, tail=tail)) for seed in range(rounds)]
    p = np.array([p_value(gap(one)) for one in found if not isinstance(one, Invalid)])
    assert len(p) >= binom.ppf(0.001, rounds, 0.975)
    for level in (0.01, 0.05, 0.25, 0.5, 0.75):
        low, high = binom.ppf([0.001, 0.999], len(p), level)
        assert low <= (p <= level).sum() <= high


def test_many_faint_signs_add_up_over_a_set():
    """Each column alone has an AUC of 0.55; all of them over 100 images leave no doubt."""
    found = gap(run(evidence(1, shift=0.18)))
    assert found.interval.low > 0.05
    assert p_value(found) < 1e-4


def test_the_p_value_is_welchs():
    findings = run(evidence(3, shift=0.03))
    figure = next(one for one in findings if isinstance(one, Figure))
    assert [series.name for series in figure.series] == ["training", "holdout"]
    found = gap(findings)
    rng = np.random.default_rng(0)  # a sample with the same mean, spread and size has the same p-value
    half = (found.interval.high - found.interval.low) / 2
    values = rng.normal(size=(2, 100))
    values = (values - values.mean(axis=1, keepdims=True)) / values.std(axis=1, ddof=1, keepdims=True)
    values[0] += found.value / (half / 1.972 / np.sqrt(2 / 100))
    assert p_value(found) == pytest.approx(ttest_ind(*values, equal_var=False, alternative="greater").pvalue, rel=0.05)


def test_training_images_in_the_holdout_make_it_invalid_and_too_few_not_applicable():
    given = evidence(0)
    given._images["holdout"] = given._images["training"]
    assert isinstance(run(given), Invalid)
    assert isinstance(run(evidence(0, n=40)), NotApplicable)


def test_what_is_reported_is_complete():
    findings = run(evidence(4))
    found = gap(findings)
    assert found.name == "dataset_membership_gap"
    assert "smallest gap this run could have seen" in found.note
    assert found.signature["sima_norms"] == "2 4"
    tables = {one.name: one for one in findings if isinstance(one, Table)}
    assert len(tables["weights"].rows) == 6
    assert tables["blind_classifier"].rows[0][0] == "image statistics"
    assert run(evidence(4)) == findings
