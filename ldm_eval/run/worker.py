"""The worker process: runs checks and white-box scores where a crash, a hang or an exit can do no harm.

It reads one JSON job per line on the stdin it was started with and answers in JSON lines on that stdout; before any
plugin code runs, file descriptor 0 is pointed at nothing and 1 at stderr, so that a plugin which reads or prints cannot
break the conversation.
"""

from __future__ import annotations

import errno
import importlib
import json
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from ldm_eval.api import (
    CheckOutcome,
    CheckSpec,
    Crashed,
    Figure,
    ImageSet,
    Invalid,
    LoadedModel,
    Measured,
    Measurement,
    ModelRef,
    NotApplicable,
    Role,
    Table,
)
from ldm_eval.errors import EvidenceError, ModelError, PluginError, StoreError
from ldm_eval.hooks.catalogue import Catalogue
from ldm_eval.run.evidence import StoredEvidence
from ldm_eval.run.jobs import CheckJob, ScoreJob, WorkerSetup, job_from_json
from ldm_eval.run.saved_scores import prompts_digest, scored_rows
from ldm_eval.run.spaces import chosen_spaces, in_space, kept_in_space, merged
from ldm_eval.store.atomic import GO_ON
from ldm_eval.store.contributions import Contribution, contributions_path, save_contributions
from ldm_eval.store.results import outcome_to_json
from ldm_eval.store.scores import KeptScores, save_scores

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["describe_error", "main", "run_check"]


def run_check(spec: CheckSpec, job: CheckJob, on_progress: Callable[[int, int], None] | None = None) -> CheckOutcome:
    """Run one check on its evidence; whatever it raises becomes ``Crashed``.

    Raises:
        StoreError: when the disk is full. That says nothing of the check, so it must not become its outcome.
    """
    outcomes: list[CheckOutcome] = []
    kept: list[Contribution] = []
    at = ""
    try:
        for space in chosen_spaces(spec.needs, job.evidence.spaces):
            at = f"with the extractor {space.info.name}: " if space and outcomes else ""
            evidence = StoredEvidence(job.evidence, spec.id, spec.needs, job.parameters, space, on_progress)
            outcome = _outcome(spec.id, spec.load().run(evidence))
            further = space.info.name if space and outcomes else ""
            outcomes.append(in_space(outcome, further) if further else outcome)
            kept += kept_in_space(evidence.kept, further) if further else evidence.kept
        if kept:
            save_contributions(contributions_path(Path(job.evidence.contributions), spec.id), kept)
        return merged(outcomes)
    except (KeyboardInterrupt, StoreError):
        raise
    except BaseException as error:  # SystemExit too: a check may not end the run
        if _disk_is_full(error):
            raise StoreError(f"The disk is full: {spec.id} could not write ({error}). {GO_ON}") from error
        traceback.print_exc()
        return Crashed(at + describe_error(error))


def _disk_is_full(error: BaseException) -> bool:
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def describe_error(error: BaseException) -> str:
    """One line: the class and the message."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:500] if text else type(error).__name__


def _outcome(check: str, found: object) -> CheckOutcome:
    if isinstance(found, NotApplicable | Invalid):
        return found
    if not isinstance(found, Sequence) or not found:
        raise EvidenceError(f"{check} returned {type(found).__name__}; a check returns findings, or says why not.")
    for item in found:
        if not isinstance(item, Measurement | Table | Figure):
            raise EvidenceError(f"{check} returned a {type(item).__name__} among its findings.")
    outcome = Measured(
        tuple(item for item in found if isinstance(item, Measurement)),
        tuple(item for item in found if isinstance(item, Table)),
        tuple(item for item in found if isinstance(item, Figure)),
    )
    names = [(m.name, m.group) for m in outcome.measurements]
    if len(set(names)) < len(names):
        raise EvidenceError(f"{check} reported the same measurement twice: {sorted(map(str, names))}.")
    if not names:
        raise EvidenceError(f"{check} reported no measurement.")
    if any(m.check != check for m in outcome.measurements):
        raise EvidenceError(f"{check} reported measurements under another check's id.")
    return outcome


class _Worker:
    def __init__(self, setup: WorkerSetup, answers: IO[str]) -> None:
        self._catalogue = Catalogue.discover(setup.disabled, setup.extra)
        self._threads = setup.threads
        self._answers = answers
        self._models: dict[tuple[str, str, str], LoadedModel] = {}

    def answer(self, **content: Any) -> None:
        self._answers.write(json.dumps(content, allow_nan=False) + "\n")
        self._answers.flush()

    def do(self, job: CheckJob | ScoreJob) -> None:
        if isinstance(job, CheckJob):
            spec = self._catalogue.checks.get(job.check)
            if spec is None:
                raise PluginError(f"The worker does not find the check '{job.check}'; its plugin failed to load there.")
            self._check(spec, job)
            return
        try:
            self._score(job)
        except StoreError as error:
            self.answer(stopped=str(error))
        except Exception as error:
            traceback.print_exc()
            self.answer(failed=describe_error(error))
        else:
            self.answer(done={})

    def _check(self, spec: CheckSpec, job: CheckJob) -> None:
        try:
            outcome = run_check(spec, job, lambda done, total: self.answer(progress=done, total=total))
        except StoreError as error:
            self.answer(stopped=str(error))
            return
        try:
            self.answer(done=outcome_to_json(outcome))
        except (TypeError, ValueError) as error:  # a NaN in a figure, a numpy number in a table: not JSON
            traceback.print_exc()
            crashed = Crashed(f"its findings cannot be written as JSON: {describe_error(error)}")
            self.answer(done=outcome_to_json(crashed))

    def _score(self, job: ScoreJob) -> None:
        import numpy as np
        import torch

        from ldm_eval.diffusion.quantise import to_float

        torch.set_num_threads(self._threads)
        parts = self._model(job).white_box()
        if parts is None:
            raise ModelError("This model does not show its inside.")
        function = _import(job.function)
        role = cast(Role, job.role)
        images = job.evidence.images(role)
        pixels = images.pixels
        if tuple(pixels.shape[1:]) != parts.image_shape:
            raise ModelError(
                f"The model makes images of {parts.image_shape}; the {job.role} images are {pixels.shape[1:]}."
            )
        index = scored_rows(len(pixels), job.max_images, job.evidence.seed, role)
        prompts = _prompts(job, images, index)
        rows = []
        for start in range(0, len(index), job.batch_size):
            chosen = index[start : start + job.batch_size]
            batch = to_float(np.asarray(pixels[chosen])).to(parts.device)
            words = (prompts[start : start + job.batch_size],) if job.prompts else ()
            with torch.inference_mode():
                found = function(parts, batch, *words, job.evidence.seed, job.parameters)
            rows.append(np.asarray(found, dtype=np.float32))
            self.answer(progress=len(batch))
        values = np.concatenate(rows)
        if not np.isfinite(values).all():
            raise EvidenceError(f"The score '{job.name}' of the {job.role} images holds values that are not finite.")
        ids = tuple(images.ids[row] for row in index)
        model, worded = self._model(job).identity.sha256, prompts_digest(images.prompts if job.prompts else None)
        said = (job.name, role, images.digest, dict(job.parameters))
        kept = KeptScores(*said, index, ids, values, job.evidence.seed, model, worded)
        save_scores(job.evidence.score_path(job.name, role), kept)

    def _model(self, job: ScoreJob) -> LoadedModel:
        key = (job.backend, job.model, job.device)
        if key not in self._models:
            backend = self._catalogue.backends[job.backend].load()
            self._models[key] = backend.load(ModelRef(job.model), job.device)
        return self._models[key]


def _prompts(job: ScoreJob, images: ImageSet, index: NDArray[np.int64]) -> list[str]:
    """The prompt that each scored image is scored with: its own, or that of another scored image of the set."""
    import numpy as np

    from ldm_eval.diffusion.randomness import derived_seed
    from ldm_eval.stats.resampling import others

    if not job.prompts or images.prompts is None:
        return []
    own = [str(images.prompts[row]) for row in index]
    if not job.shuffled:
        return own
    generator = np.random.default_rng(derived_seed(job.evidence.seed, f"shuffled prompts of {job.role}"))
    return [own[at] for at in others(len(own), generator)]


def _import(dotted: str) -> Callable[..., Any]:
    module, _, name = dotted.partition(":")
    try:
        return cast(Callable[..., Any], getattr(importlib.import_module(module), name))
    except (ImportError, AttributeError) as error:
        raise PluginError(f"The score function '{dotted}' cannot be imported: {error}.") from error


def _end_with_parent(parent: int) -> None:
    """A run that was killed outright cannot stop its worker; the worker then stops itself, even inside a hung check."""
    while os.getppid() == parent:
        time.sleep(2)
    os._exit(1)


def main() -> int:
    """Serve jobs until stdin closes."""
    from ldm_eval.run.tuning import tune_process

    jobs = os.fdopen(os.dup(0), "r", encoding="utf-8")
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    with open(os.devnull, "rb") as nothing:  # a check that reads stdin finds its end, not our jobs
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)
    told = json.loads(jobs.readline())
    setup = WorkerSetup(
        disabled=tuple(told["disabled"]),
        extra=tuple(told["extra"]),
        sys_path=tuple(told["sys_path"]),
        threads=told["threads"],
    )
    sys.path[:] = list(dict.fromkeys([*setup.sys_path, *sys.path]))
    tune_process()
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    worker = _Worker(setup, answers)
    worker.answer(ready=True)
    for line in jobs:
        worker.do(job_from_json(json.loads(line)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
