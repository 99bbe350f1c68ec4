from __future__ import annotations

import os

import pytest

from ldm_eval.run.threads import thread_count


@pytest.mark.parametrize(("told", "allowed"), [("1", 1), ("1000000", None), ("0", None), ("", None), ("all", None)])
def test_unless_told_a_run_takes_its_cores_but_no_more_than_openmp_may(monkeypatch, told, allowed) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", told)
    assert thread_count(0) == (allowed or len(os.sched_getaffinity(0)))
    assert thread_count(7) == 7
