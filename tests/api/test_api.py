"""The words that plugins speak: light to import, and impossible to say something untrue with."""

from __future__ import annotations

import math
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import ldm_eval.api
from ldm_eval.api import (
    Alarm,
    CheckSpec,
    DataRef,
    Evidence,
    ImageSet,
    Interval,
    Measurement,
    ModelRef,
    Needs,
    PhantomCase,
    Phantoms,
    Table,
)
from ldm_eval.errors import EvidenceError, LdmEvalError, did_you_mean
from ldm_eval.testing.evidence import PhantomEvidence, image_set

INTERVAL = Interval(0.1, 0.3, 0.95, "exact")


def _measurement(**change: Any) -> Measurement:
    fields: dict[str, Any] = {
        "check": "quality/x",
        "name": "x",
        "value": 0.2,
        "interval": INTERVAL,
        "n": 10,
        "unit": "share",
        "direction": "lower",
        "signature": {"n": 10},
    }
    return Measurement(**{**fields, **change})


@pytest.mark.parametrize("module", ["ldm_eval.api", "ldm_eval.errors", "ldm_eval.hooks", "ldm_eval"])
def test_importing_the_api_imports_neither_torch_nor_numpy(module: str) -> None:
    program = f"import sys, {module}; print([n for n in ('torch', 'numpy', 'scipy', 'pandas') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_is_there() -> None:
    assert sorted(ldm_eval.api.__all__) == sorted(set(ldm_eval.api.__all__))
    for name in ldm_eval.api.__all__:
        assert hasattr(ldm_eval.api, name)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_measurement_refuses_what_is_no_number(bad: float) -> None:
    with pytest.raises(EvidenceError, match="'x' of quality/x is"):
        _measurement(value=bad)
    with pytest.raises(EvidenceError, match="floor"):
        _measurement(floor=bad)
    with pytest.raises(EvidenceError, match="finite bounds"):
        Interval(bad, 1.0, 0.95, "exact")
    with pytest.raises(EvidenceError, match="finite bounds"):
        Interval(0.0, bad, 0.95, "exact")
    with pytest.raises(EvidenceError, match="not finite"):
        Table("t", "T", ("a", "b"), ((1, bad),))


def test_a_measurement_rests_on_at_least_one_image() -> None:
    with pytest.raises(EvidenceError, match="n=0"):
        _measurement(n=0)


def test_an_interval_is_the_right_way_round_and_has_a_level() -> None:
    with pytest.raises(EvidenceError, match="must not exceed"):
        Interval(0.3, 0.1, 0.95, "exact")
    for level in (0.0, 1.0, 95.0):
        with pytest.raises(EvidenceError, match="level"):
            Interval(0.1, 0.3, level, "exact")
    assert Interval(0.2, 0.2, 0.95, "exact").low == 0.2


def test_a_table_has_even_rows() -> None:
    with pytest.raises(EvidenceError, match="2 columns and a row of 1"):
        Table("t", "T", ("a", "b"), ((1,),))
    assert Table("t", "T", ("a",), ((None,), ("text",), (1,))).rows[0] == (None,)


@pytest.mark.parametrize(
    ("alarm", "raised"),
    [
        (Alarm("low", ">", 0.05), True),
        (Alarm("low", ">", 0.1), False),
        (Alarm("value", ">", 0.15), True),
        (Alarm("value", "<", 0.15), False),
        (Alarm("high", "<", 0.31), True),
        (Alarm("high", "<", 0.3), False),
    ],
)
def test_an_alarm_looks_at_its_bound(alarm: Alarm, raised: bool) -> None:
    assert alarm.raised_by(_measurement()) is raised


def _evidence(check: str = "quality/x", seed: int = 3) -> Evidence:
    pixels = np.zeros((4, 1, 2, 2), dtype=np.uint8)
    return PhantomEvidence(
        check,
        seed,
        images={"reference": image_set(pixels, "zeros")},
        features={"samples": np.ones((5, 2), dtype=np.float32)},
    )


def test_provenance_is_stamped_on_every_measurement() -> None:
    found = _evidence().measurement(
        "x", 1, INTERVAL, n=5, unit="u", direction="none", against="reference", uses_extractor=True, k=5
    )
    assert found.check == "quality/x"
    assert isinstance(found.value, float)
    assert found.signature["n"] == 5
    assert found.signature["against"] == "reference"
    assert found.signature["against_digest"] == image_set(np.zeros((4, 1, 2, 2), dtype=np.uint8), "other").digest
    assert found.signature["against_n"] == 4
    assert found.signature["extractor"] == "phantom"
    assert found.signature["k"] == 5
    assert found.signature["model"] == "phantom"


def test_randomness_depends_on_seed_check_and_purpose() -> None:
    def draw(purpose: str, check: str = "quality/x", seed: int = 3) -> float:
        return float(_evidence(check, seed).rng(purpose).random())

    assert draw("bootstrap") == draw("bootstrap")
    assert len({draw("bootstrap"), draw("split"), draw("bootstrap", "quality/y"), draw("bootstrap", seed=4)}) == 4


def test_what_is_not_there_is_an_error_and_never_empty() -> None:
    evidence = _evidence()
    assert not evidence.has("training")
    for read in (evidence.images, evidence.features, evidence.logits, evidence.attributes):
        with pytest.raises(EvidenceError, match="The phantom has no"):
            read("training")
    with pytest.raises(EvidenceError, match="scores 'loss'"):
        evidence.scores("loss", "training")


def test_a_check_class_describes_itself() -> None:
    case = PhantomCase("package.module:function", "an effect")

    class Trial:
        id = "trial/thing"
        title = "Thing"
        question = "Is it?"
        needs = Needs(samples=3)
        phantoms = Phantoms("thing", Alarm("low", ">", 0.0), case, case)

        def run(self, evidence: Evidence) -> list[Measurement]:
            return []

    spec = CheckSpec.of(Trial, requires=("torch",), extra="clip")
    assert (spec.id, spec.family, spec.requires, spec.extra) == ("trial/thing", "trial", ("torch",), "clip")
    assert isinstance(spec.load(), Trial)


def test_references_are_read_as_paths_or_names() -> None:
    assert DataRef("mnist:holdout").name_and_split == ("mnist", "holdout")
    assert DataRef("mnist").name_and_split == ("mnist", "")
    assert not str(DataRef("~/x").path).startswith("~")
    assert ModelRef("a/b.pt").path.name == "b.pt"


@pytest.mark.parametrize("channels", [1, 3])
def test_an_image_set_gives_colour_without_changing_it(channels: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (6, channels, 4, 5), dtype=np.uint8)
    images = ImageSet("n", "", pixels, tuple("abcdef"), "0" * 64)
    assert len(images) == 6
    assert images.shape == (channels, 4, 5)
    assert images.rgb(2, 4).shape == (2, 3, 4, 5)
    np.testing.assert_array_equal(images.rgb()[:, 0], pixels[:, 0])
    np.testing.assert_array_equal(images.rgb()[:, 2], pixels[:, -1])


def test_sixteen_bits_are_rounded_to_eight_by_one_rule_and_keep_their_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ldm_eval.api.images._BLOCK", 40)  # two images at a time
    pixels = np.random.default_rng(0).integers(0, 65536, (5, 1, 4, 5), dtype=np.uint16)
    deep = ImageSet("deep", "train", pixels, tuple("abcde"), "0" * 64, labels=np.arange(5))
    flat = deep.eight_bit()
    np.testing.assert_array_equal(flat.pixels, np.rint(pixels / 257.0))
    np.testing.assert_array_equal(deep.rgb(1, 3), flat.rgb(1, 3))
    assert (flat.digest, flat.ids, flat.labels is deep.labels) == (deep.digest, deep.ids, True)
    assert flat.eight_bit() is flat


def test_every_error_of_the_tree_has_an_exit_code_of_the_design() -> None:
    for kind in LdmEvalError.__subclasses__():
        assert kind.exit_code in (2, 4)


def test_did_you_mean_stays_silent_when_nothing_is_close() -> None:
    assert did_you_mean("qualty", ["quality", "privacy"]) == " Did you mean 'quality'?"
    assert did_you_mean("zzz", ["quality", "privacy"]) == ""
