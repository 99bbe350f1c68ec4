from pathlib import Path

import pytest

from ldm_eval.errors import StoreError
from ldm_eval.store.withheld import withheld_samples, write_withheld


def test_what_all_checks_withhold_is_put_together_and_the_last_word_of_each_counts(tmp_path: Path) -> None:
    assert withheld_samples(tmp_path / "private") is None
    write_withheld(tmp_path / "private" / "a", [5, 1, 5])
    write_withheld(tmp_path / "private" / "b", [7])
    write_withheld(tmp_path / "private" / "b", [2])
    assert withheld_samples(tmp_path / "private") == {1, 2, 5}


def test_a_damaged_list_is_refused(tmp_path: Path) -> None:
    write_withheld(tmp_path / "a", [])
    (tmp_path / "a" / "withheld_samples.json").write_text('{"samples": "all"}')
    with pytest.raises(StoreError, match="--no-resume"):
        withheld_samples(tmp_path)
