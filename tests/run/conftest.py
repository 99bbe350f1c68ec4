from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ldm_eval.hooks.catalogue import Catalogue
from ldm_eval.run.config import RunConfig, resolve_config
from ldm_eval.run.pipeline import FinishedRun, run
from ldm_eval.run.progress import SilentProgress

PLUGIN = "hostile_plugin"
GAUSSIAN = "phantom:gaussian?shape=1x8x8&mean=0&std=0.25"


@pytest.fixture(autouse=True)
def _hostile_plugin_is_importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))


@pytest.fixture
def configure(tmp_path: Path) -> Callable[..., RunConfig]:
    def make(**settings: Any) -> RunConfig:
        defaults: dict[str, Any] = {
            "model": GAUSSIAN,
            "suite": "hostile/good",
            "samples": 70,
            "steps": 3,
            "threads": 1,
            "plugin": PLUGIN,
            "output": str(tmp_path / "run"),
        }
        return resolve_config(defaults | settings, {}).config

    return make


@pytest.fixture
def run_once(configure: Callable[..., RunConfig]) -> Callable[..., FinishedRun]:
    def go(**settings: Any) -> FinishedRun:
        config = configure(**settings)
        catalogue = Catalogue.discover(config.disable_plugin, config.plugin)
        return run(config, catalogue, SilentProgress(), policy_digest=None)

    return go


@pytest.fixture
def real_images(tmp_path: Path) -> Path:
    """An npz of 40 random 8x8 grey images."""
    path = tmp_path / "real.npz"
    pixels = np.random.Generator(np.random.PCG64(5)).integers(0, 256, (40, 8, 8, 1), dtype=np.uint8)
    np.savez(path, arr_0=pixels)
    return path
