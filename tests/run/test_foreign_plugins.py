"""A plugin of a stranger that breaks where the run itself calls it: it is named, and harms nothing else."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ldm_eval.errors import PluginError
from ldm_eval.hooks.catalogue import Catalogue
from ldm_eval.run.config import RunConfig
from ldm_eval.run.pipeline import FinishedRun
from ldm_eval.run.prepare import prepare
from ldm_eval.run.progress import Progress

Run = Callable[..., FinishedRun]

BROKEN = """
from ldm_eval.api import BackendSpec, DatasetSpec
from ldm_eval.hooks import hookimpl

def boom(*_):
    raise RuntimeError("all is lost")

class Certain:
    name = "certain"
    def recognises(self, ref): return 1.0 if ref.text == "certain" else 0.0
    def load(self, ref, device): boom()

@hookimpl
def ldm_eval_backends():
    return [BackendSpec("broken", "", boom), BackendSpec("certain", "", Certain),
            BackendSpec("absent", "", boom, requires=("no_such_package.part",))]

@hookimpl
def ldm_eval_datasets():
    certain = DatasetSpec("certain", "", "", ("a",), lambda ref: float(ref.text == "certain"), boom)
    return [DatasetSpec("broken", "", "", (), boom, boom), certain]
"""


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    (tmp_path / "broken_by_a_stranger.py").write_text(BROKEN)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "hostile_plugin,broken_by_a_stranger"
    sys.modules.pop("broken_by_a_stranger", None)


def test_a_plugin_that_recognises_nothing_but_raises_harms_no_other(
    run_once: Run, real_images: Path, broken: str
) -> None:
    done = run_once(model=str(real_images), samples=0, steps=0, data=str(real_images), plugin=broken)
    assert done.results.measurements


@pytest.mark.parametrize(
    ("settings", "named"),
    [({"model": "certain"}, "The backend 'certain' failed"), ({"data": "certain"}, "the dataset 'certain' failed")],
)
def test_a_plugin_that_raises_while_it_loads_is_named(
    run_once: Run, broken: str, settings: dict[str, str], named: str
) -> None:
    with pytest.raises(PluginError, match=f"{named}: RuntimeError: all is lost") as caught:
        run_once(plugin=broken, **settings)
    assert caught.value.exit_code == 4


def test_a_run_says_which_plugins_it_does_without(configure: Callable[..., RunConfig]) -> None:
    notes: list[str] = []

    class Noting(Progress):
        def start(self, stage: str, total: int | None) -> None: ...
        def advance(self, units: int = 1) -> None: ...
        def finish(self) -> None: ...
        def note(self, text: str) -> None:
            notes.append(text)

    config = configure(plugin="hostile_plugin,no_such_module_at_all")
    prepare(config, Catalogue.discover((), config.plugin), Noting())
    assert any("no_such_module_at_all cannot be used" in note for note in notes)
