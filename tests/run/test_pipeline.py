from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ldm_eval.api import Crashed, Invalid, Measured
from ldm_eval.errors import ConfigError, DataError, ModelError, PluginError, StoreError
from ldm_eval.hooks.catalogue import Catalogue
from ldm_eval.run import prepare as preparing
from ldm_eval.run.config import RunConfig
from ldm_eval.run.pipeline import FinishedRun, run
from ldm_eval.run.prepare import prepare
from ldm_eval.run.progress import Progress, SilentProgress

Run = Callable[..., FinishedRun]


def test_two_runs_give_the_same_results_byte_for_byte(run_once: Run, tmp_path: Path) -> None:
    first = run_once(output=str(tmp_path / "a"))
    second = run_once(output=str(tmp_path / "b"))
    assert (first.folder / "results.json").read_bytes() == (second.folder / "results.json").read_bytes()
    shards = [sorted(p.name for p in (run.folder / "samples").iterdir()) for run in (first, second)]
    assert shards[0] == shards[1]
    for name in shards[0]:
        assert (first.folder / "samples" / name).read_bytes() == (second.folder / "samples" / name).read_bytes()


def test_results_hold_no_time_no_host_and_no_path(run_once: Run, tmp_path: Path) -> None:
    import socket

    text = (run_once().folder / "results.json").read_text()
    assert str(tmp_path) not in text
    assert socket.gethostname() not in text
    assert "20" + "26-" not in text


def test_another_seed_gives_other_samples(run_once: Run, tmp_path: Path) -> None:
    first = run_once(output=str(tmp_path / "a"))
    second = run_once(output=str(tmp_path / "b"), seed=1)
    assert first.results.artifacts["samples"] != second.results.artifacts["samples"]


def test_batch_size_changes_no_image_of_an_exact_denoiser_beyond_one_level(run_once: Run, tmp_path: Path) -> None:
    pixels = []
    for batch in (1, 7, 64):
        done = run_once(output=str(tmp_path / str(batch)), batch_size=batch)
        shard = sorted((done.folder / "samples").glob("000000-*.npz"))[0]
        with np.load(shard) as stored:
            pixels.append(stored["arr_0"].astype(int))
    assert np.abs(pixels[0] - pixels[2]).max() <= 1
    assert np.abs(pixels[1] - pixels[2]).max() <= 1


def test_a_check_that_breaks_is_reported_and_everything_else_is_measured(run_once: Run, real_images: Path) -> None:
    done = run_once(suite="hostile", check_timeout=6.0, data=str(real_images))
    outcomes = {record.check.removeprefix("hostile/"): record.outcome for record in done.results.checks}
    errors = {name: outcome.error for name, outcome in outcomes.items() if isinstance(outcome, Crashed)}
    assert set(errors) == {
        "raises",
        "hangs",
        "exits",
        "system_exits",
        "segfaults",
        "returns_nan",
        "returns_nothing",
        "peeks",
        "draws_nan",
        "score_raises",
        "score_exits",
    }
    assert errors["raises"] == "RuntimeError: told you so"
    assert "did not answer within 6 s" in errors["hangs"]
    assert "exited with code 7" in errors["exits"]
    assert "SIGSEGV" in errors["segfaults"]
    assert "must be a finite number" in errors["returns_nan"]
    assert "did not declare" in errors["peeks"]
    assert "cannot be written as JSON" in errors["draws_nan"]
    assert "no score today" in errors["score_raises"]
    assert "exited with code 9" in errors["score_exits"]
    assert isinstance(outcomes["good"], Measured)
    assert isinstance(outcomes["prints"], Measured)
    assert isinstance(outcomes["reads_stdin"], Measured)
    assert isinstance(outcomes["good_score"], Measured)
    assert outcomes["says_invalid"] == Invalid("the premise does not hold")
    assert [item["check"] for item in done.results.unavailable] == ["hostile/unavailable"]
    assert "told you so" in (done.folder / "worker.log").read_text()


def test_the_scored_images_are_drawn_from_the_whole_set_not_taken_from_its_beginning(
    run_once: Run, tmp_path: Path
) -> None:
    """A folder sorted by class begins with one class only: here forty black images before forty white ones."""
    pixels = np.repeat(np.array([0, 255], dtype=np.uint8), 40 * 64).reshape(80, 8, 8, 1)
    np.savez(tmp_path / "sorted.npz", arr_0=pixels)
    done = run_once(suite="hostile/good_score", data=str(tmp_path / "sorted.npz"))
    (record,) = done.results.checks
    assert isinstance(record.outcome, Measured), record.outcome
    (level,) = record.outcome.measurements
    assert level.n == 8
    assert -1 < level.value < 1


def test_two_checks_that_mean_different_scores_by_one_name_are_refused(run_once: Run, real_images: Path) -> None:
    with pytest.raises(PluginError, match="mean different ones"):
        run_once(suite="hostile/good_score,clash/other_score", data=str(real_images))


def test_the_same_images_may_be_named_by_another_path(
    run_once: Run, real_images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_once(data=str(real_images))
    monkeypatch.chdir(real_images.parent)
    assert run_once(data=real_images.name).results.measurements


def test_results_say_how_many_threads_there_were(run_once: Run) -> None:
    assert run_once().results.run["threads"] == 1


def test_a_finished_run_started_again_changes_nothing(run_once: Run) -> None:
    folder = run_once().folder
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    again = run_once()
    after = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    assert before == after
    assert again.results.measurements


def test_other_settings_in_the_same_folder_are_refused_with_the_difference(run_once: Run) -> None:
    run_once()
    with pytest.raises(ConfigError, match=r"settings.seed: was 0, is now 3"):
        run_once(seed=3)


def test_all_cores_of_another_machine_are_other_settings(run_once: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparing, "thread_count", lambda wanted: wanted or 2)
    run_once(threads=0)
    monkeypatch.setattr(preparing, "thread_count", lambda wanted: wanted or 1)
    with pytest.raises(ConfigError, match=r"machine.threads: was 2, is now 1"):
        run_once(threads=0)
    run_once(threads=2)


def test_groups_that_were_edited_since_are_other_data(run_once: Run, real_images: Path) -> None:
    groups = real_images.with_suffix(".csv")
    rows = [f"{number},{'a' if number % 2 else 'b'}" for number in range(40)]
    groups.write_text("\n".join(["id,digit", *rows]))
    run_once(data=str(real_images))
    groups.write_text("\n".join(["id,digit", "0,a", *rows[1:]]))
    with pytest.raises(ConfigError, match=r"groups\.training: was"):
        run_once(data=str(real_images))


def test_features_of_other_thread_counts_are_not_taken_from_the_cache(
    run_once: Run, real_images: Path, tmp_path: Path
) -> None:
    texts = []
    for name, cache in (("first", "shared"), ("second", "shared"), ("third", "own")):
        done = run_once(
            suite="hostile/good_features",
            data=str(real_images),
            threads=1 if name == "first" else 4,
            cache_dir=str(tmp_path / cache),
            output=str(tmp_path / name),
        )
        texts.append((done.folder / "results.json").read_text())
    assert texts[1] == texts[2]


def test_no_resume_starts_over_in_the_same_folder(run_once: Run) -> None:
    first = run_once()
    second = run_once(seed=3, resume=False)
    assert second.results.run["seed"] == 3
    assert first.results.artifacts != second.results.artifacts


def test_a_folder_of_something_else_is_refused_and_left_alone(run_once: Run, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").write_text("years of work")
    with pytest.raises(ConfigError, match=r"thesis\.tex"):
        run_once(resume=False)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["thesis.tex"]


class _StopAfter(Progress):
    """Interrupts, as Ctrl-C would, when ``count`` units of ``stage`` are done."""

    def __init__(self, stage: str, count: int) -> None:
        self.left, self.wanted, self.now = count, stage, ""

    def start(self, stage: str, total: int | None) -> None:
        self.now = stage

    def advance(self, units: int = 1) -> None:
        if self.now == self.wanted:
            self.left -= units
            if self.left <= 0:
                raise KeyboardInterrupt

    def finish(self) -> None:
        self.now = ""

    def note(self, text: str) -> None:
        pass


@pytest.mark.parametrize(("stage", "count"), [("sampling", 70), ("sampling", 140), ("checks", 1)])
def test_an_interrupted_run_goes_on_to_the_same_bytes(
    configure: Callable[..., RunConfig], run_once: Run, tmp_path: Path, stage: str, count: int
) -> None:
    straight = run_once(output=str(tmp_path / "straight"), samples=150, suite="hostile/good,hostile/prints")
    config = configure(samples=150, suite="hostile/good,hostile/prints")
    catalogue = Catalogue.discover((), config.plugin)
    with pytest.raises(KeyboardInterrupt):
        run(config, catalogue, _StopAfter(stage, count), None)
    assert not (tmp_path / "run" / "results.json").exists()
    kept = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "run" / "samples").glob("*.npz")}
    assert len(kept) == (count // 64 if stage == "sampling" else 3)
    done = run(config, catalogue, SilentProgress(), None)
    assert (done.folder / "results.json").read_bytes() == (straight.folder / "results.json").read_bytes()
    again = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "run" / "samples").glob("*.npz")}
    assert kept.items() <= again.items()


def test_a_full_disk_is_told_and_what_was_written_stays(
    run_once: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno
    import os

    real, calls = os.fsync, []

    def full_after_a_while(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) > 6:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full_after_a_while)
    with pytest.raises(StoreError, match="disk is full") as caught:
        run_once(samples=200)
    assert caught.value.exit_code == 4
    written = sorted(path.name for path in (tmp_path / "run" / "samples").iterdir())
    assert written
    assert not [name for name in written if name.endswith(".tmp")]
    monkeypatch.undo()
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    assert run_once(samples=200).results.run["samples"] == 200


def test_a_disk_that_is_full_during_a_check_is_no_verdict_on_the_check(
    run_once: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOSTILE_TODAY", "disk")
    with pytest.raises(StoreError, match=r"disk is full: hostile/unlucky could not write .*evidence\.png") as caught:
        run_once(suite="hostile/good,hostile/unlucky")
    assert caught.value.exit_code == 4
    monkeypatch.delenv("HOSTILE_TODAY")
    straight = run_once(suite="hostile/good,hostile/unlucky", output=str(tmp_path / "straight"))
    done = run_once(suite="hostile/good,hostile/unlucky")
    assert (done.folder / "results.json").read_bytes() == (straight.folder / "results.json").read_bytes()


def test_a_check_that_crashed_before_an_interruption_is_asked_again(
    configure: Callable[..., RunConfig], run_once: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configure(suite="hostile/peeks,hostile/unlucky")
    monkeypatch.setenv("HOSTILE_TODAY", "memory")
    with pytest.raises(KeyboardInterrupt):
        run(config, Catalogue.discover((), config.plugin), _StopAfter("checks", 2), None)
    monkeypatch.delenv("HOSTILE_TODAY")
    outcomes = {record.check: record.outcome for record in run_once(suite=",".join(config.suite)).results.checks}
    assert isinstance(outcomes["hostile/peeks"], Crashed)
    assert isinstance(outcomes["hostile/unlucky"], Measured)


def test_a_run_that_is_going_on_keeps_a_second_one_out(configure: Callable[..., RunConfig], run_once: Run) -> None:
    class Second(SilentProgress.__mro__[1]):  # type: ignore[misc]
        error = ""

        def start(self, stage: str, total: int | None) -> None:
            if stage == "sampling":
                with pytest.raises(StoreError, match="Another run is writing"):
                    run_once()
                Second.error = "seen"

        def advance(self, units: int = 1) -> None: ...
        def finish(self) -> None: ...
        def note(self, text: str) -> None: ...

    config = configure()
    run(config, Catalogue.discover((), config.plugin), Second(), None)
    assert Second.error == "seen"


def test_limit_takes_the_first_images_and_marks_the_results_partial(
    run_once: Run, real_images: Path, tmp_path: Path
) -> None:
    done = run_once(suite="hostile/good,hostile/good_score", data=str(real_images), limit=5)
    assert done.results.partial
    assert done.results.run["samples"] == 5
    assert {record.role: record.n for record in done.results.data} == {"samples": 5, "training": 5, "reference": 5}


def test_images_that_the_denoiser_cannot_see_are_told_before_the_run(
    configure: Callable[..., RunConfig], tmp_path: Path
) -> None:
    np.savez(tmp_path / "large.npz", arr_0=np.zeros((40, 16, 16, 3), dtype=np.uint8))
    config = configure(suite="hostile/good,hostile/good_score", data=str(tmp_path / "large.npz"))
    plan = prepare(config, Catalogue.discover((), config.plugin), SilentProgress()).plan
    reasons = {check.spec.id: check.reason for check in plan.checks}
    assert "makes images of 1x8x8, the training images are 3x16x16" in reasons["hostile/good_score"]
    assert not plan.scores


def test_samples_can_be_scored_too(run_once: Run) -> None:
    done = run_once(suite="hostile/samples_score")
    assert [measurement.n for measurement in done.results.measurements] == [8]


def test_the_plan_writes_nothing(configure: Callable[..., RunConfig], tmp_path: Path) -> None:
    config = configure()
    prepared = prepare(config, Catalogue.discover((), config.plugin), SilentProgress())
    assert [check.spec.id for check in prepared.plan.running] == ["hostile/good"]
    assert prepared.plan.sampling_calls == 70 * 3
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"model": "nowhere.pt"}, ModelError, "There is no file nowhere.pt"),
        ({"model": "dmeo"}, ModelError, "Did you mean 'demo'"),
        ({"model": ""}, ConfigError, "No model was named"),
        ({"suite": "hostil"}, ConfigError, "Did you mean 'hostile'"),
        ({"backend": "natve"}, ConfigError, "Did you mean 'native'"),
        ({"extractor": "inception", "suite": "quality"}, Exception, "extractor|None of the checks"),
        ({"data": "nowhere/"}, DataError, "no such file or dataset"),
        ({"data": "portraits:valid"}, ConfigError, "no split 'valid'"),
        ({"sampler": "ddmp"}, ConfigError, "Did you mean 'ddpm'"),
        ({"device": "gpu"}, ConfigError, "use cpu, cuda"),
        ({"device": "cuda:99"}, ConfigError, "CUDA devices"),
        ({"samples": 1}, DataError, "needs at least 2 samples; this run has 1"),
        ({"checks": {"quality/fd": {"k": 1}}}, ConfigError, "no such check"),
        ({"checks": {"quality/precision_recall": {"kk": 3}}}, ConfigError, "no such setting; it takes k"),
        ({"checks": {"hostile/good": {"k": 1}}}, ConfigError, "it takes none"),
    ],
)
def test_bad_input_is_one_clear_error_and_nothing_is_written(
    run_once: Run, tmp_path: Path, settings: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        run_once(**settings)
    assert not (tmp_path / "run").exists()


def test_more_samples_than_finished_images_is_refused(run_once: Run, real_images: Path) -> None:
    with pytest.raises(ConfigError, match="40 finished images"):
        run_once(model=str(real_images), samples=41, steps=0)


def test_all_finished_images_are_measured_when_no_number_is_given(run_once: Run, real_images: Path) -> None:
    assert run_once(model=str(real_images), samples=0, steps=0).results.run["samples"] == 40
