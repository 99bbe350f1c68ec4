"""Small sets of pictures on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image


@pytest.fixture
def colours() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (12, 9, 7, 3), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path: Path, colours: NDArray[np.uint8]) -> Path:
    """Twelve colour PNGs, 7 wide and 9 high, a third of them in a sub-folder."""
    root = tmp_path / "pictures"
    (root / "sub").mkdir(parents=True)
    for index, pixels in enumerate(colours):
        name = f"sub/{index:02d}.png" if index % 3 == 0 else f"{index:02d}.png"
        Image.fromarray(pixels).save(root / name)
    return root
