"""quality/per_class."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ldm_eval_quality import per_class
from ldm_eval_quality.conditional_phantoms import conditional
from ldm_eval_quality.frechet_distance import FrechetDistanceCheck
from ldm_eval_quality.per_class import PerClassCheck
from scipy.special import stdtrit

from ldm_eval.api import Evidence, ExtractorInfo, Figure, Finding, Invalid, Measurement, NotApplicable, Table
from ldm_eval.errors import ConfigError, EvidenceError
from ldm_eval.testing.evidence import PhantomEvidence, set_of_features

CHECK = "quality/per_class"
WORST = "worst_class_frechet_distance_excess"


def findings(evidence: Evidence) -> list[Finding]:
    found = PerClassCheck().run(evidence)
    assert not isinstance(found, NotApplicable | Invalid), found
    return list(found)


def measured(evidence: Evidence) -> dict[tuple[str, str | None], Measurement]:
    return {(one.name, one.group): one for one in findings(evidence) if isinstance(one, Measurement)}


def table(evidence: Evidence) -> Table:
    (one,) = (found for found in findings(evidence) if isinstance(found, Table))
    return one


def evidence_of(samples: dict[int, int], reference: dict[int, int], d: int = 6, **given: object) -> PhantomEvidence:
    """So many images of each class, all from N(0, I)."""
    rng = np.random.default_rng(0)
    labels = {
        role: np.concatenate([np.full(count, label) for label, count in sizes.items()] or [np.zeros(0, dtype=int)])
        for role, sizes in (("samples", samples), ("reference", reference))
    }
    features = {role: rng.standard_normal((len(known), d)).astype(np.float32) for role, known in labels.items()}
    images = {role: replace(set_of_features(one, role), labels=labels[role]) for role, one in features.items()}
    return PhantomEvidence(CHECK, 0, images=images, features=features, **given)  # type: ignore[arg-type]


def test_each_class_has_its_excess_distance_and_coverage_with_floors() -> None:
    found = measured(conditional(0, shift=0.5))
    groups = {f"class {label}" for label in range(4)}
    names = {"class_frechet_distance_excess", "class_frechet_distance", "class_coverage"}
    assert set(found) == {(name, group) for name in names for group in groups} | {
        (WORST, None),
        ("worst_class_coverage_shortfall", None),
    }
    assert found["class_frechet_distance_excess", "class 0"].interval.low > 0
    for label in (1, 2, 3):
        assert found["class_frechet_distance_excess", f"class {label}"].interval.low <= 0
    for (name, _), one in found.items():
        assert (one.floor is not None) == (name in ("class_frechet_distance", "class_coverage"))
        assert one.interval.low <= one.value <= one.interval.high
        assert one.signature["classes"] == 4
    assert "Worst: class 0" in found[WORST, None].note
    assert "1 of 4 classes are farther" in found[WORST, None].note


def test_exchanged_classes_are_seen_here_and_nowhere_else() -> None:
    evidence = conditional(0, shift=0.0, exchanged=True)
    whole = FrechetDistanceCheck().run(evidence)
    assert not isinstance(whole, NotApplicable | Invalid)
    (excess,) = (one for one in whole if isinstance(one, Measurement) and one.name == "frechet_distance_excess")
    assert excess.interval.low <= 0 <= excess.interval.high
    found = measured(evidence)
    assert found[WORST, None].interval.low > 100
    assert found["class_coverage", "class 0"].value == 0.0
    assert "2 of 4 classes cover less" in found["worst_class_coverage_shortfall", None].note


def test_a_class_drawn_from_a_few_pictures_falls_short_of_coverage() -> None:
    evidence = conditional(0, shift=0.0)
    features = evidence.features("samples")
    features[:100] = features[:4].repeat(25, axis=0)
    found = measured(evidence)
    assert found["worst_class_coverage_shortfall", None].interval.low > 0
    assert "Worst: class 0" in found["worst_class_coverage_shortfall", None].note


def test_all_classes_are_compared_at_one_size() -> None:
    found = measured(evidence_of({0: 50, 1: 200, 2: 90}, {0: 400, 1: 130, 2: 100}))
    assert {one.n for one in found.values()} == {50}
    assert {one.signature["real_n"] for one in found.values()} == {50}
    assert {one.signature["other_real_n"] for one in found.values()} == {50}


def test_classes_that_cannot_be_compared_are_listed_with_the_reason() -> None:
    evidence = evidence_of({0: 50, 1: 10, 2: 50, 4: 50, 5: 50}, {0: 100, 1: 100, 2: 59, 3: 100, 5: 80})
    features = evidence.features("reference")
    features[evidence.images("reference").labels == 5] = 1.0
    reasons = {row[0]: row[-1] for row in table(evidence).rows}
    assert reasons == {
        0: "",
        1: "10 samples, fewer than 30",
        2: "59 reference images, fewer than 60",
        3: "no samples of this class",
        4: "no reference images of this class",
        5: "all its reference images have one and the same feature vector",
    }
    note = measured(evidence)[WORST, None].note
    assert "Left out: class 1, 10 samples, fewer than 30; class 2, 59 reference images" in note
    assert "class 3, no samples of this class and 2 more (see the table)." in note
    assert all(None not in row for row in table(evidence).rows if not row[-1])


def test_fewest_is_a_setting_that_drops_small_classes() -> None:
    small = {0: 40, 1: 100}
    found = measured(evidence_of(small, {0: 200, 1: 200}, parameters={"fewest": 50}))
    assert {group for _, group in found} == {None, "class 1"}
    assert {one.n for one in found.values()} == {100}
    for wrong in (5, True, "many", 2.5):
        with pytest.raises(ConfigError, match="fewest"):
            PerClassCheck().run(evidence_of(small, small, parameters={"fewest": wrong}))


def test_of_many_classes_the_worst_are_shown_and_all_are_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(per_class, "_SHOWN", 2)
    evidence = conditional(0, shift=0.5)
    found = measured(evidence)
    groups = {group for _, group in found}
    assert "class 0" in groups
    assert len(groups) == 3
    assert found[WORST, None].signature["classes"] == 4
    assert "2 more classes are not shown" in table(evidence).note


def test_contributions_carry_the_error_of_each_excess() -> None:
    evidence = conditional(0, shift=0.5)
    assert isinstance(evidence, PhantomEvidence)
    found = measured(evidence)["class_frechet_distance_excess", "class 0"]
    kept = evidence.kept["class_frechet_distance_excess", "class 0"]
    used = {role: values[np.isfinite(values)] for role, values in kept.items()}
    assert {role: len(values) for role, values in used.items()} == {"samples": 100, "reference": 300}
    error = np.sqrt(sum(values.var(ddof=1) / len(values) for values in used.values()))
    reach = found.interval.high - found.value
    assert reach == pytest.approx(stdtrit(99, 1 - 0.05 / 8) * error, rel=0.01)


def test_only_inception_features_give_a_fid() -> None:
    info = ExtractorInfo("inception-2015", "1" * 64, 6, 1008, "tf1-bilinear-299", "Apache-2.0")
    found = measured(evidence_of({0: 40}, {0: 80}, extractor=info))
    assert ("worst_class_fid_excess", None) in found
    assert "Bonferroni" not in found["worst_class_fid_excess", None].interval.estimator  # one class is no multiplicity


def test_without_labels_or_large_enough_classes_it_is_not_applicable() -> None:
    full = conditional(0, shift=0.0)
    for role, words in (("samples", "--classes"), ("reference", "column 'label'")):
        images = {name: full.images(name) for name in ("samples", "reference")}  # type: ignore[arg-type]
        images[role] = replace(images[role], labels=None)
        features = {name: full.features(name) for name in images}  # type: ignore[arg-type]
        found = PerClassCheck().run(PhantomEvidence(CHECK, 0, images=images, features=features))  # type: ignore[arg-type]
        assert isinstance(found, NotApplicable)
        assert words in found.reason
    for samples, reference in (({0: 1, 1: 5}, {0: 100, 1: 100}), ({0: 100}, {1: 100}), ({}, {0: 100})):
        found = PerClassCheck().run(evidence_of(samples, reference))
        assert isinstance(found, NotApplicable)
        assert "classes can be compared" in found.reason


def test_features_that_are_not_finite_are_refused() -> None:
    evidence = conditional(0, shift=0.0)
    evidence.features("samples")[3, 0] = np.nan
    with pytest.raises(EvidenceError, match="image 3"):
        PerClassCheck().run(evidence)


def test_a_collapsed_class_is_measured_and_drawn() -> None:
    evidence = conditional(0, shift=0.0)
    evidence.features("samples")[:100] = 0.0
    found = measured(evidence)
    assert found["class_frechet_distance_excess", "class 0"].value > 50
    (figure,) = (one for one in findings(evidence) if isinstance(one, Figure))
    assert figure.series[0].x[0] == "0"
