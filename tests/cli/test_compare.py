from __future__ import annotations

import json
from dataclasses import replace

import pytest

from ldm_eval.cli import main
from ldm_eval.store.results import save_results


def exit_code(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(list(arguments))
    return int(caught.value.code or 0)


@pytest.fixture
def pair(results, tmp_path):
    """Two finished runs: ``a``, and ``b`` of another model whose distance is far lower."""
    folders = []
    for name in ("a", "b"):
        checks = list(results.checks)
        outcome = checks[-1].outcome
        (distance,) = outcome.measurements
        shift = 0.0 if name == "a" else -9.0
        interval = replace(distance.interval, low=distance.interval.low + shift, high=distance.interval.high + shift)
        moved = replace(distance, value=distance.value + shift, interval=interval, group="a|b <i>x</i>")
        checks[-1] = replace(checks[-1], outcome=replace(outcome, measurements=(moved,)))
        folder = tmp_path / name
        folder.mkdir()
        save_results(
            replace(results, partial=False, checks=tuple(checks), model={"name": f"model {name}", "sha256": name}),
            folder,
        )
        folders.append(str(folder))
    return folders


def test_the_better_model_is_named_with_its_difference(pair, capsys) -> None:
    assert exit_code("compare", *pair) == 0
    text = capsys.readouterr().out
    assert "model b (b) beside model a (a)" in text
    assert "better" in text
    assert "-9" in text


def test_json_holds_nothing_else(pair, capsys) -> None:
    assert exit_code("compare", *pair, pair[0], "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert [one["second"] for one in document["comparisons"]] == ["model b (b)", "model a (a)"]
    assert document["comparisons"][0]["rows"][-1]["verdict"] == "better"


def test_markdown_and_figure_are_written_and_hostile_text_stays_text(pair, tmp_path, capsys) -> None:
    page, figure = tmp_path / "c.md", tmp_path / "c.png"
    assert exit_code("compare", *pair, "--output", str(page), "--figure", str(figure)) == 0
    text = page.read_text()
    assert "<i>" not in text
    assert "a\\|b" in text
    assert figure.read_bytes().startswith(b"\x89PNG")
    again = tmp_path / "d.png"
    assert exit_code("compare", *pair, "--figure", str(again)) == 0
    assert again.read_bytes() == figure.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["{a}"], "at least two folders"),
        (["{a}", "nowhere"], "no results.json in nowhere"),
        (["{a}", "{b}", "--across", "stepz"], "no measurement has this field"),
        (["{a}", "{b}", "--level", "2"], "between 0.5 and 1"),
    ],
)
def test_wrong_calls_say_what_is_wrong(pair, capsys, arguments, said) -> None:
    called = [one.format(a=pair[0], b=pair[1]) for one in arguments]
    assert exit_code("compare", *called) == 2
    assert said in capsys.readouterr().err


def test_runs_with_nothing_in_common_exit_with_four(results, pair, tmp_path, capsys) -> None:
    other = tmp_path / "other"
    other.mkdir()
    save_results(replace(results, partial=False, checks=results.checks[:3]), other)
    assert exit_code("compare", pair[0], str(other)) == 4
    assert "only the first run has it" in capsys.readouterr().out
