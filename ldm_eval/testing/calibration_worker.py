"""The process that calibrates one instrument: it reads a job, gives signs of life and leaves an answer in a folder."""

from __future__ import annotations

import json
import os
import threading
import time
from dataclasses import asdict
from pathlib import Path

from ldm_eval.api import CheckSpec
from ldm_eval.hooks.catalogue import Catalogue
from ldm_eval.store.atomic import write_json
from ldm_eval.store.certificate import Instrument
from ldm_eval.testing.calibration import DIFFUSION, calibrate_check, calibrate_diffusion
from ldm_eval.testing.calibration_pool import ANSWER, JOB, SIGNS
from ldm_eval.testing.conformance import run_case

__all__ = ["main"]


def main(folder: str) -> None:
    """Do the job that lies in ``folder``. Whatever ends this process early is told by the answer's absence."""
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    told = json.loads((Path(folder) / JOB).read_text(encoding="utf-8"))
    name, seeds, first_seed = str(told["name"]), int(told["seeds"]), int(told["first_seed"])
    per_seed = 0.0
    with (Path(folder) / SIGNS).open("ab", buffering=0) as signs:

        def sign() -> None:
            signs.write(b".")

        if name in DIFFUSION:
            instrument = calibrate_diffusion(name, sign)
        else:
            catalogue = Catalogue.discover(told["disabled"], told["extra"])
            spec = catalogue.checks.get(name)
            if spec is None:
                instrument = Instrument(name, "", "failed", ("its plugin could not be loaded a second time",), ())
            elif seeds:
                owner = catalogue.owner(spec)
                instrument = calibrate_check(spec, owner.distribution or owner.name, seeds, first_seed, sign)
            else:
                instrument = Instrument(name, "", "calibrated", (), ())
                per_seed = _seconds_per_seed(spec, first_seed)
    write_json(Path(folder) / ANSWER, {"instrument": asdict(instrument), "seconds_per_seed": per_seed})


def _seconds_per_seed(spec: CheckSpec, first_seed: int) -> float:
    """Of both phantoms together: the second seed is timed, since the first one pays for imports."""
    total = 0.0
    for name in ("catches", "leaves_alone"):
        ends: list[float] = []
        run_case(spec, name, 2, first_seed, lambda ends=ends: ends.append(time.perf_counter()))  # type: ignore[misc]
        total += ends[1] - ends[0]
    return total


def _end_with_parent(parent: int) -> None:
    """Whoever started this process and was killed outright cannot stop it; then it stops itself."""
    while os.getppid() == parent:
        time.sleep(2)
    os._exit(1)
