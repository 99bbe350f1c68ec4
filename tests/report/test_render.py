from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from ldm_eval.api import Measured, Series
from ldm_eval.gate import Verdict, load_verdict
from ldm_eval.report import load_declared, sample_grid, write_report
from ldm_eval.store.results import Results
from ldm_eval.store.withheld import write_withheld


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_the_report_is_written_and_written_again_byte_for_byte(
    results: Results, verdict: Verdict, declared: dict[str, Any], tmp_path: Path
) -> None:
    card = write_report(results, verdict, tmp_path, declared)
    first = files(tmp_path)
    assert card == tmp_path / "MODEL_CARD.md"
    assert {"MODEL_CARD.md", "gate.json", "declared.json"} <= set(first)
    assert sum(name.startswith("figures/") for name in first) == 4
    write_report(results, load_verdict(tmp_path), tmp_path, load_declared(tmp_path))
    assert files(tmp_path) == first
    for name in first:
        if name.startswith("figures/"):
            assert f"]({name})" in card.read_text(encoding="utf-8")


def test_the_verdict_read_back_is_the_one_written(results: Results, verdict: Verdict, tmp_path: Path) -> None:
    write_report(results, verdict, tmp_path)
    assert load_verdict(tmp_path) == verdict
    document = json.loads((tmp_path / "gate.json").read_text(encoding="utf-8"))
    assert (document["status"], document["exit_code"]) == ("inconclusive", 3)


def test_a_report_without_a_policy_leaves_no_old_verdict_behind(
    results: Results, verdict: Verdict, tmp_path: Path
) -> None:
    write_report(results, verdict, tmp_path, {"data": "x", "since": date(2026, 1, 1)})
    assert load_declared(tmp_path) == {"data": "x", "since": "2026-01-01"}
    write_report(results, None, tmp_path)
    assert load_verdict(tmp_path) is None
    assert load_declared(tmp_path) is None


def test_a_grid_that_is_there_is_shown(results: Results, tmp_path: Path) -> None:
    assert "## Samples" not in write_report(results, None, tmp_path).read_text(encoding="utf-8")
    (tmp_path / "figures" / "samples.png").write_bytes(sample_grid(np.zeros((4, 3, 8, 8), dtype=np.uint8)))
    assert "(figures/samples.png)" in write_report(results, None, tmp_path).read_text(encoding="utf-8")


def test_a_figure_that_cannot_be_drawn_does_not_lose_the_card(
    results: Results, make_results: Callable[..., Results], tmp_path: Path
) -> None:
    record = results.checks[0]
    assert isinstance(record.outcome, Measured)
    broken = replace(record.outcome.figures[0], series=(Series("s", (1,), (1.0, 2.0)),))
    found = make_results(checks=(replace(record, outcome=replace(record.outcome, figures=(broken,))),))
    card = write_report(found, None, tmp_path).read_text(encoding="utf-8")
    assert "could not be drawn: EvidenceError" in card
    assert not list(tmp_path.rglob("*.png"))


def test_reading_and_judging_and_writing_need_neither_torch_nor_pandas() -> None:
    program = (
        "import sys, ldm_eval.gate, ldm_eval.report\n"
        "raise SystemExit(bool(sys.modules.keys() & {'torch', 'pandas', 'scipy', 'matplotlib'}))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_samples_that_a_check_withheld_are_grey_on_the_card(results: Results, tmp_path: Path) -> None:
    store_of_samples(tmp_path / "samples", np.zeros((4, 3, 8, 8), dtype=np.uint8))
    write_withheld(tmp_path / "private" / "privacy-near_copies", [2])
    write_withheld(tmp_path / "private" / "privacy-feature_copies", [])
    write_report(results, None, tmp_path)
    blank = np.zeros((4, 3, 8, 8), dtype=np.uint8)
    blank[2] = 160
    grid = tmp_path / "figures" / "samples.png"
    assert grid.read_bytes() == sample_grid(blank)
    shutil.rmtree(tmp_path / "private")  # whoever gives the folder on may remove it, and write the card again
    write_report(results, None, tmp_path)
    assert grid.read_bytes() == sample_grid(blank)


def store_of_samples(folder: Path, images: np.ndarray) -> None:
    folder.mkdir(parents=True)
    np.savez(folder / "0.npz", arr_0=images.transpose(0, 2, 3, 1))
    (folder / "manifest.json").write_text('{"shards": ["0.npz"]}', encoding="utf-8")
