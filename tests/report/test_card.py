from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml
from markdown_it import MarkdownIt

from ldm_eval.api import CardSectionSpec, Interval, Measured, NotApplicable, Series, Table
from ldm_eval.gate import Verdict
from ldm_eval.report.card import build_card
from ldm_eval.store.results import CheckRecord, DataRecord, Results, load_results, save_results

MakeResults = Callable[..., Results]
BAD = "x|y`z`<b>&--- ::error\n---\n::error::pwn\n# h1\u202e\u200f\r\n| a | b |\udcff"


def split(card: str) -> tuple[dict[str, Any], str]:
    """Front matter as the hub reads it (its own regular expression), and the body."""
    match = re.match(r"^(\s*---[\r\n]+)([\S\s]*?)([\r\n]+---(\r\n|\r|\n|$))", card)
    assert match is not None
    return yaml.safe_load(match.group(2)), card[match.end() :]


def section(card: str, title: str) -> str:
    return card.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def headings(body: str) -> list[str]:
    return re.findall(r"<h[12]>(.*?)</h[12]>", MarkdownIt("gfm-like", {"linkify": False}).render(body))


def test_every_section_is_there_in_order(results: Results, verdict: Verdict, declared: dict[str, Any]) -> None:
    _, body = split(build_card(results, verdict, declared, grid="figures/samples.png"))
    assert headings(body) == [
        "digits",
        "Verdict",
        "In short",
        "Samples",
        "Quality and diversity",
        "Memorisation and privacy leakage",
        "Demographic bias",
        "Misinformation and misuse",
        "Waivers",
        "Not evaluated",
        "How these numbers were made",
        "How to reproduce",
        "Model, data and digests",
        "Declared by the author",
        "Limits of the instruments",
    ]


def test_the_verdict_names_every_rule_and_its_result(results: Results, verdict: Verdict) -> None:
    box = section(build_card(results, verdict, None), "Verdict")
    assert "INCONCLUSIVE" in box
    for rule in verdict.rules:
        assert f"`{rule.rule}`" in box
    assert "| 0.0030 (0.0006 to 0.0088) | pass |" in box
    assert "about n = 5,811 would settle it" in box
    assert all(line.startswith(">") for line in box.strip().split("\n"))


def test_without_a_policy_the_card_says_so(results: Results) -> None:
    assert "No policy applied" in section(build_card(results, None, None), "Verdict")


def test_a_setting_that_was_left_to_the_run_is_not_shown_as_zero(results: Results) -> None:
    made = section(
        build_card(replace(results, run={"limit": 0, "threads": 0, "seed": 0}), None, None),
        "How these numbers were made",
    )
    assert "| Limit | none |" in made
    assert "| Threads | all cores |" in made
    assert "| Seed | 0 |" in made


def test_a_verdict_about_another_model_is_not_passed_off_as_this_ones(results: Results, verdict: Verdict) -> None:
    warning = "verdict is about another model"
    assert warning not in build_card(results, verdict, None)
    assert warning in build_card(results, replace(verdict, model_sha256="0" * 64), None)


def test_partial_results_say_so_at_the_top(make_results: MakeResults) -> None:
    assert "Partial results" in section(build_card(make_results(partial=True), None, None), "Verdict")


def test_what_was_not_evaluated_is_listed_with_its_reason(results: Results) -> None:
    gaps = section(build_card(results, None, None), "Not evaluated")
    for state in ("crashed", "invalid", "not applicable", "unavailable"):
        assert f"| {state} |" in gaps
    assert "TimeoutError: 900 s" in gaps


def test_a_family_that_nobody_asked_for_is_said_to_be_missing(make_results: MakeResults, results: Results) -> None:
    only_quality = make_results(checks=results.checks[:1], unavailable=())
    gaps = section(build_card(only_quality, None, None), "Not evaluated")
    assert "Memorisation and privacy leakage, Demographic bias, Misinformation and misuse" in gaps


def test_the_family_of_a_third_party_is_shown_too(make_results: MakeResults, results: Results) -> None:
    measurement = replace(results.measurements[0], check="thirdparty/brightness")
    record = CheckRecord("thirdparty/brightness", "Brightness", "How bright?", Measured((measurement,)))
    card = build_card(make_results(checks=(record,)), None, None)
    assert "frechet_distance" in section(card, "Thirdparty")


def test_a_floor_is_compared_by_the_interval(results: Results) -> None:
    summary = section(build_card(results, None, None), "In short")
    assert "0.30 %** (95 % interval 0.06 % to 0.88 %" in summary
    assert "lies above what real images give in one draw (11.9)" in summary


@pytest.mark.parametrize("sided", ["two", "upper", "lower"])
def test_a_one_sided_interval_is_not_held_against_the_floor(
    make_results: MakeResults, results: Results, sided: Literal["two", "upper", "lower"]
) -> None:
    measurement = replace(results.measurements[0], value=3.0, interval=Interval(1, 5, 0.95, "test", sided), floor=4.0)
    record = CheckRecord(measurement.check, "Distance", "How far?", Measured((measurement,)))
    summary = section(build_card(make_results(checks=(record,)), None, None), "In short")
    assert ("holds what real images give in one draw (4" in summary) == (sided == "two")
    assert ("real images" in summary) == (sided == "two")


def test_the_alternative_text_of_a_figure_begins_with_its_title(results: Results) -> None:
    card = build_card(results, None, None)
    assert "![Fréchet distance against the number of samples. The distance falls from 61" in card


def test_what_is_not_declared_is_said_to_be_missing(results: Results, declared: dict[str, Any]) -> None:
    words = section(build_card(results, None, declared), "Declared by the author")
    assert "**Intended use.** Teaching how" in words
    assert "**Out of scope.** *Not declared.*" in words
    assert "**Contact.** models@example.org" in words
    assert build_card(results, None, None).count("*Not declared.*") == 5


def test_the_front_matter_is_what_the_hub_reads(results: Results, declared: dict[str, Any]) -> None:
    meta, _ = split(build_card(results, None, declared))
    assert meta["license"] == "apache-2.0"
    assert meta["library_name"] == "ldm-eval"
    assert meta["pipeline_tag"] == "unconditional-image-generation"
    (index,) = meta["model-index"]
    metrics = [metric for entry in index["results"] for metric in entry["metrics"]]
    assert len(metrics) == len(results.measurements)
    for entry in index["results"]:
        assert set(entry["dataset"]) <= {"type", "name", "split", "revision"}
        assert {"type", "name"} <= set(entry["dataset"])
    for metric in metrics:
        assert isinstance(metric["value"], float)
        assert {"n", "low", "high", "level", "estimator", "protocol"} <= set(metric["args"])
        assert "verified" not in metric
    by_name = {(m["args"]["check"], m["type"], m["config"]): m["value"] for m in metrics}
    for m in results.measurements:
        assert by_name[m.check, m.name, m.group or "all"] == m.value


def test_an_unknown_licence_becomes_other_with_its_name(make_results: MakeResults, results: Results) -> None:
    meta, _ = split(build_card(make_results(model={**results.model, "licence": "My Own Terms"}), None, None))
    assert (meta["license"], meta["license_name"]) == ("other", "My Own Terms")
    meta, _ = split(build_card(make_results(model={**results.model, "licence": ""}), None, None))
    assert meta["license"] == "unknown"


@pytest.mark.parametrize("what", ["value", "low", "high", "floor", "n"])
def test_changing_a_number_in_the_results_changes_the_card(
    results: Results, make_results: MakeResults, what: str
) -> None:
    record = results.checks[0]
    assert isinstance(record.outcome, Measured)
    (m,) = record.outcome.measurements
    interval = Interval(
        m.interval.low - (what == "low"), m.interval.high + (what == "high"), 0.95, m.interval.estimator
    )
    changed = replace(
        m,
        value=m.value + (what == "value"),
        interval=interval,
        floor=(m.floor or 0) + (what == "floor"),
        n=m.n + (what == "n"),
    )
    other = make_results(checks=(replace(record, outcome=replace(record.outcome, measurements=(changed,))),))
    same = make_results(checks=(record,))
    shown = [section(build_card(one, None, None), "Quality and diversity") for one in (same, other)]
    assert shown[0] != shown[1]


def test_every_number_in_a_measurement_table_is_one_of_the_results_rounded(results: Results) -> None:
    _, body = split(build_card(results, None, None))
    known = [x for m in results.measurements for x in (m.value, m.interval.low, m.interval.high, m.floor or 0.0)]
    ends = (" is better |", "better direction |")
    rows = [line for line in body.split("\n") if line.endswith(ends) and "| Which" not in line]
    assert len(rows) == len(results.measurements)
    for row in rows:
        cells = row.split(" | ")
        for text in re.findall(r"-?\d[\d,]*\.\d+", " ".join(cells[2:-3])):
            step = 10.0 ** -len(text.partition(".")[2])
            number = float(text.replace(",", ""))
            assert any(abs(number - value) < step * 1.0001 for value in known), (row, text)


def test_a_card_from_results_read_back_is_the_same_bytes(
    results: Results, verdict: Verdict, declared: dict[str, Any], tmp_path: Path
) -> None:
    save_results(results, tmp_path)
    again = load_results(tmp_path)
    assert build_card(again, verdict, declared) == build_card(results, verdict, declared)


def hostile(results: Results) -> Results:
    """Every text that a user, a plugin or a file name can choose is hostile."""
    first = results.checks[0]
    assert isinstance(first.outcome, Measured)
    (m,) = first.outcome.measurements
    measurement = replace(
        m,
        name=BAD,
        unit=BAD,
        note=BAD,
        group=BAD,
        interval=Interval(1.0, 99.0, 0.95, BAD),
        signature={BAD: BAD, "extractor": BAD, "against": BAD},
    )
    figure = replace(first.outcome.figures[0], name=BAD, title=BAD, alt=BAD, series=(Series(BAD, (1, 2), (1.0, 2.0)),))
    table = Table(BAD, BAD, (BAD, "n"), ((BAD, 1), (None, 2)), BAD)
    return Results(
        tool={"name": BAD, "version": BAD, BAD: BAD},
        model={"name": BAD, "sha256": BAD, "architecture": BAD, "licence": BAD, "training": {BAD: BAD}, BAD: BAD},
        run={BAD: BAD, "nested": {BAD: [BAD]}},
        data=(DataRecord(BAD, BAD, BAD, BAD, 1, BAD),),
        plugins=({"name": BAD, "distribution": BAD, "version": BAD},),
        checks=(
            CheckRecord(f"{BAD}/x", BAD, BAD, Measured((measurement,), (table,), (figure,))),
            CheckRecord("quality/y", BAD, BAD, NotApplicable(BAD)),
        ),
        unavailable=({"check": BAD, "reason": BAD},),
        artifacts={BAD: BAD, "../../etc/x.png": BAD, "a](http://e)/x.png": BAD, "/x.png": BAD},
        partial=False,
        policy_digest=BAD,
        reproduce=BAD,
    )


def test_hostile_names_neither_break_the_card_nor_inject_anything(results: Results, verdict: Verdict) -> None:
    rule = replace(verdict.rules[0], rule=BAD, measurement=BAD, group=BAD, reason=BAD, why=BAD, status="fail")
    waiver = replace(verdict.waivers[0], rule=BAD, reason=BAD, owner=BAD, problem=BAD)
    bad_verdict = replace(verdict, policy_name=BAD, rules=(rule,), waivers=(waiver,), warnings=(BAD,))
    card = build_card(hostile(results), bad_verdict, {"data": BAD, BAD: {BAD: BAD}}, undrawn={"x": BAD})
    card.encode("utf-8")
    meta, body = split(card)
    assert set(meta) == {"license", "license_name", "library_name", "pipeline_tag", "tags", "model-index"}
    html = MarkdownIt("gfm-like", {"linkify": False, "html": True}).render(body)
    assert "<b>" not in html
    assert html.count("<h1>") == 1
    assert not any(line.startswith(("::", "##[")) or line.strip() == "---" for line in body.split("\n"))
    assert "\u202e" not in card
    assert all(not src.startswith(("http", "/", "..")) for src in re.findall(r'src="([^"]*)"', html))
    for rows in re.findall(r"<table>(.*?)</table>", html, flags=re.DOTALL):
        widths = {len(re.findall(r"<t[hd]", row)) for row in re.findall(r"<tr>(.*?)</tr>", rows, flags=re.DOTALL)}
        assert len(widths) == 1
        assert "<td" in rows


def test_a_plugin_section_is_shown_last(results: Results) -> None:
    spec = CardSectionSpec("extra", "Extra words", lambda document: f"n = {len(document['measurements'])}")
    _, body = split(build_card(results, None, None, [spec]))
    assert headings(body)[-1] == "Extra words"
    assert f"n = {len(results.measurements)}" in body


def test_a_summary_of_a_plugin_stands_before_the_tables(results: Results) -> None:
    spec = CardSectionSpec("extra", "In other words", lambda document: "Short.", early=True)
    _, body = split(build_card(results, None, None, [spec]))
    found = headings(body)
    assert found[found.index("In short") + 1] == "In other words"


def fails(error: BaseException) -> Callable[[Any], str]:
    def render(document: Any) -> str:
        raise error

    return render


@pytest.mark.parametrize(
    ("render", "says"),
    [
        (fails(ValueError("boom | <b>")), "ValueError: boom \\| &lt;b&gt;"),
        (fails(SystemExit(0)), "SystemExit"),
        (lambda document: 7, "returned int"),
        (lambda document: "\udcff", "UnicodeEncodeError"),
    ],
)
def test_a_section_that_raises_does_not_lose_the_card(results: Results, render: Any, says: str) -> None:
    card = build_card(results, None, None, [CardSectionSpec("bad", "Bad", render)])
    assert f"Section bad failed: {says}" in card.replace(": it returned", ": returned").replace("TypeError: ", "")
    assert "## Limits of the instruments" in card
    assert build_card(results, None, None) in card


def test_a_section_cannot_change_the_results(results: Results) -> None:
    def meddle(document: Any) -> str:
        document["measurements"].clear()
        document["model"].clear()
        return "x"

    specs = [CardSectionSpec("a", "A", meddle), CardSectionSpec("b", "B", lambda d: str(len(d["measurements"])))]
    card = build_card(results, None, None, specs)
    assert card.endswith(f"## B\n\n{len(results.measurements)}\n")
