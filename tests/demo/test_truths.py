"""The demo's planted truths beside findings: agreement is said where there is some, and only there."""

import copy
import csv
import json

import pytest
from ldm_eval_demo import truths
from ldm_eval_demo.portraits import planted

from ldm_eval.errors import DataError


def share(tone, value):
    return {
        "check": "fairness/representation",
        "name": "corrected_share",
        "group": tone,
        "value": value,
        "low": value - 0.03,
        "high": value + 0.03,
    }


COUNTS = [
    ["different training images", 1448],
    ["most copies of one image in training", 20],
    ["holdout images found in training", 0],
]
AGREEING = {
    "model": {"name": "demo"},
    "partial": False,
    "measurements": [share("light", 0.62), share("medium", 0.27), share("deep", 0.11)],
    "outcomes": [
        {"check": "privacy/near_copies", "status": "measured", "tables": [{"name": "counts", "rows": COUNTS}]},
        {"check": "privacy/membership_loss", "status": "measured"},
    ],
}


@pytest.fixture
def written(tmp_path):
    def write(results, copies=()):
        (tmp_path / "results.json").write_text(json.dumps(results))
        if copies:
            folder = tmp_path / "private" / "privacy-near_copies"
            folder.mkdir(parents=True)
            with (folder / "near_copies.csv").open("w", newline="") as file:
                csv.writer(file).writerows([["image_id", "training_id"], *((i, name) for i, name in enumerate(copies))])
        return tmp_path

    return write


def disagreeing(folder):
    return [truth.planted for truth in truths.compare(folder) if not truth.agrees]


def test_a_run_that_found_what_was_planted_agrees_everywhere(written, capsys):
    folder = written(AGREEING, [planted()[3][0], planted()[3][5], planted()[0][1], "train-0100"])
    assert disagreeing(folder) == []
    assert truths.main([str(folder)]) == 0
    assert "3 of 4 copies show 2 of the planted pictures" in capsys.readouterr().out


def test_copies_of_pictures_that_are_there_once_contradict_the_planted_duplicates(written):
    folder = written(AGREEING, [planted()[0][0], *(f"train-{row:04d}" for row in range(100, 200))])
    assert disagreeing(folder) == ["what is there 20 times is learned first"]


@pytest.mark.parametrize(
    ("change", "contradicted"),
    [
        (lambda r: r["measurements"].__setitem__(0, share("light", 0.34)), "60% of the portraits"),
        (lambda r: r["measurements"].__setitem__(2, share("deep", 0.40)), "12% of the portraits"),
        (lambda r: r["measurements"].pop(1), "28% of the portraits"),
        (lambda r: r["outcomes"][0]["tables"][0]["rows"].__setitem__(0, [COUNTS[0][0], 1600]), "1,448 different"),
        (lambda r: r["outcomes"].pop(0), "none of them in the holdout"),
        (lambda r: r["outcomes"][1].update(status="invalid"), "nothing else tells training from holdout"),
    ],
)
def test_every_other_finding_is_said_to_differ(written, change, contradicted):
    results = copy.deepcopy(AGREEING)
    change(results)
    folder = written(results)
    assert any(planted_fact.startswith(contradicted) for planted_fact in disagreeing(folder))
    assert truths.main([str(folder)]) == 1


@pytest.mark.parametrize(
    ("change", "reason"), [({"model": {"name": "mine"}}, "'mine'"), ({"partial": True}, "--limit")]
)
def test_another_run_is_not_compared(written, change, reason):
    with pytest.raises(DataError, match=reason):
        truths.compare(written(AGREEING | change))


def test_a_folder_without_results_is_refused(tmp_path, capsys):
    assert truths.main([str(tmp_path)]) == 2
    assert "no results" in capsys.readouterr().err
