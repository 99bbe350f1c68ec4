"""Other formats that a plugin writes a finished run in."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ldm_eval.api import JsonObject, RendererSpec
from ldm_eval.errors import ConfigError, PluginError
from ldm_eval.evaluate import evaluate, render_folder
from ldm_eval.hooks import hookimpl

MODULE = __name__
GAUSSIAN = "phantom:gaussian?shape=1x8x8"


def _counts(results: JsonObject, verdict: JsonObject | None, folder: Path) -> Path:
    path = folder / "counts.json"
    path.write_text(json.dumps({"measurements": len(results["measurements"]), "verdict": verdict}))
    return path


def _fails(results: JsonObject, verdict: JsonObject | None, folder: Path) -> Path:
    raise RuntimeError("no ink")


class Plugin:
    @hookimpl
    def ldm_eval_renderers(self) -> list[RendererSpec]:
        return [RendererSpec("counts", "how many", _counts), RendererSpec("inkless", "fails", _fails)]


@pytest.fixture
def finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    from ldm_eval.hooks.catalogue import Catalogue

    discover = Catalogue.discover.__func__  # type: ignore[attr-defined]

    def with_plugin(cls: type[Catalogue], disabled: object = (), extra: object = ()) -> Catalogue:
        from ldm_eval.hooks.catalogue import PluginRecord

        catalogue: Catalogue = discover(cls, disabled, extra)
        catalogue._add(PluginRecord("inks", MODULE), Plugin)
        return catalogue

    monkeypatch.setattr(Catalogue, "discover", classmethod(with_plugin))
    return tmp_path / "run"


def run(folder: Path, renderer: str) -> None:
    pixels = np.random.Generator(np.random.PCG64(5)).integers(0, 256, (2, 200, 8, 8, 1), dtype=np.uint8)
    training, holdout = (str(folder.with_name(f"{name}.npz")) for name in ("training", "holdout"))
    np.savez(training, arr_0=pixels[0])
    np.savez(holdout, arr_0=pixels[1])
    evaluate(
        GAUSSIAN, suite="privacy/near_copies", data=training, holdout=holdout, samples=60, steps=3, threads=1,
        renderer=renderer, output=str(folder),
    )  # fmt: skip


def test_a_renderer_is_given_the_results_and_writes_beside_the_card(finished: Path) -> None:
    run(finished, "counts")
    written = json.loads((finished / "counts.json").read_text())
    assert written["measurements"] > 0
    assert written["verdict"] is None
    (finished / "counts.json").unlink()
    assert render_folder(finished, renderers=["counts"]).rendered == (finished / "counts.json",)


def test_a_renderer_that_fails_loses_neither_results_nor_card(finished: Path) -> None:
    with pytest.raises(PluginError, match="'inkless' failed: RuntimeError: no ink"):
        run(finished, "inkless")
    assert (finished / "results.json").is_file()
    assert (finished / "MODEL_CARD.md").is_file()


def test_an_unknown_renderer_is_known_before_the_run(finished: Path) -> None:
    with pytest.raises(ConfigError, match="Did you mean 'counts'"):
        run(finished, "count")
    assert not finished.exists()
