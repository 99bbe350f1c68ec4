from __future__ import annotations

import pytest

from ldm_eval.report.section import humanise


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("near_copy_rate", "Near copy rate"),
        ("fid", "FID"),
        ("frechet_distance_excess", "Fréchet distance excess"),
        ("sfid@inception-2015-spatial", "sFID (inception-2015-spatial)"),
        ("frechet_distance@x_y", "Fréchet distance (x_y)"),
        ("c_t", "C_T"),
        ("mifid@inception-2015", "MiFID (inception-2015)"),
        ("", ""),
    ],
)
def test_names_are_written_as_people_write_them(name: str, shown: str) -> None:
    assert humanise(name) == shown
