"""A run with a calibration certificate, from Python: read first, kept with the results, no part of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ldm_eval.errors import ConfigError
from ldm_eval.evaluate import Evaluation, evaluate
from ldm_eval.hooks.catalogue import Catalogue
from ldm_eval.run.progress import Progress
from ldm_eval.store.certificate import Certificate, Instrument, save_certificate
from ldm_eval.version import installed_version

CHECK = "privacy/near_copies"
POLICY = f"""
schema_version = 1
name = "calibrated"
require_calibration = true
[[rules]]
id = "copies"
check = "{CHECK}"
measurement = "exact_copy_rate"
at_most = 0.9
"""


class Listening(Progress):
    """Remembers the notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)

    def start(self, stage: str, total: int | None) -> None:
        pass

    def advance(self, units: int = 1) -> None:
        pass

    def finish(self) -> None:
        pass


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    pixels = np.random.Generator(np.random.PCG64(5)).integers(0, 256, (2, 200, 8, 8, 1), dtype=np.uint8)
    np.savez(folder / "training.npz", arr_0=pixels[0])
    np.savez(folder / "holdout.npz", arr_0=pixels[1])
    (folder / "policy.toml").write_text(POLICY)
    return folder


def run(images: Path, output: Path, progress: Listening | None = None, **settings: str) -> Evaluation:
    return evaluate(
        "phantom:gaussian?shape=1x8x8", suite=CHECK, data=str(images / "training.npz"),
        holdout=str(images / "holdout.npz"), samples=60, steps=3, threads=1, policy=str(images / "policy.toml"),
        output=str(output), progress=progress, **settings,
    )  # fmt: skip


def certificate(path: Path) -> str:
    catalogue = Catalogue.discover()
    owner = catalogue.owner(catalogue.checks[CHECK])
    plugin = {"name": owner.name, "distribution": owner.distribution, "version": owner.version}
    instrument = Instrument(CHECK, owner.distribution, "calibrated", (), ())
    tool = {"name": "ldm-eval", "version": installed_version()}
    save_certificate(Certificate(tool, (plugin,), {}, 20, 0, (instrument,)), path)
    return str(path)


def test_a_certificate_decides_whether_the_rules_may_be_decided_and_leaves_the_results_alone(
    images: Path, tmp_path: Path
) -> None:
    first, second = Listening(), Listening()
    without = run(images, tmp_path / "run", first)
    assert without.verdict is not None
    assert (without.verdict.rules[0].status, without.exit_code) == ("error", 4)
    assert "will end as errors: copies" in first.notes[0]
    results = (tmp_path / "run/results.json").read_bytes()
    file = certificate(tmp_path / "mine.json")
    again = run(images, tmp_path / "run", second, calibration=file)  # the same run: nothing is sampled again
    assert again.verdict is not None
    assert (again.verdict.rules[0].status, again.exit_code) == ("pass", 0)
    assert not any("calibrated" in note for note in second.notes)
    assert any("nothing was sampled" in note for note in second.notes)
    assert (tmp_path / "run/results.json").read_bytes() == results
    assert (tmp_path / "run/calibration.json").read_bytes() == Path(file).read_bytes()
    kept = run(images, tmp_path / "run")
    assert kept.exit_code == 0
    assert kept.card.read_bytes() == again.card.read_bytes()
    over = run(images, tmp_path / "run", resume=False)  # type: ignore[arg-type]
    assert over.exit_code == 4
    assert not (tmp_path / "run/calibration.json").exists()
    assert (tmp_path / "run/results.json").read_bytes() == results


def test_a_bad_certificate_is_known_before_anything_is_sampled(images: Path, tmp_path: Path) -> None:
    file = Path(certificate(tmp_path / "mine.json"))
    file.write_text(file.read_text().replace('"seeds": 20', '"seeds": 21'))
    with pytest.raises(ConfigError, match="changed after it was written"):
        run(images, tmp_path / "run", calibration=str(file))
    assert not (tmp_path / "run").exists()
