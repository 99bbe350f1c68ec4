from pathlib import Path

import pytest

from ldm_eval.diffusion.samplers import SAMPLERS
from ldm_eval.diffusion.schedules import SCHEDULES

PAGE = Path(__file__).parents[2] / "docs" / "diffusion.md"


@pytest.mark.parametrize("name", [*SAMPLERS, *SCHEDULES])
def test_the_page_names_every_sampler_and_schedule(name):
    assert f"`{name}`" in PAGE.read_text(encoding="utf-8")
