"""What every test shares: a cache of its own, and threads that leave room for the other tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Features of one test may be reused by another, but never those of the person who runs the tests."""
    cache = tmp_path_factory.getbasetemp().parent / "shared-cache"
    os.environ["XDG_CACHE_HOME"] = str(cache)
    os.environ["LDM_EVAL_CACHE_DIR"] = str(cache / "ldm-eval")


@pytest.fixture(scope="session")
def repository() -> Path:
    return Path(__file__).resolve().parent.parent
