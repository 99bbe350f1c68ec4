"""Finding the backend that loads what the user typed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ldm_eval.api import BackendSpec, LoadedModel, ModelRef
from ldm_eval.errors import ConfigError, LdmEvalError, ModelError, did_you_mean
from ldm_eval.hooks.catalogue import Catalogue, blamed_on, unavailable_reason

__all__ = ["FoundModel", "load_model", "pick_device"]


@dataclass(frozen=True, slots=True, eq=False)
class FoundModel:
    """A loaded model, and how to load it again in another process.

    Attributes:
        model: The model.
        ref: What the backend was given (a shipped model's name is resolved to its path).
        backend: Name of the backend.
        device: Where it was loaded.
        name: Short name for people and folders.
    """

    model: LoadedModel
    ref: ModelRef
    backend: str
    device: str
    name: str


def pick_device(wanted: str) -> str:
    """``auto`` becomes ``cuda`` where there is one, else ``cpu``.

    Raises:
        ConfigError: for a device that is not there.
    """
    import torch

    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, index = wanted.partition(":")
    if kind == "cpu" and not index:
        return wanted
    if kind != "cuda" or (index and not index.isdigit()):
        raise ConfigError(f"--device {wanted}: there is no such kind of device; use cpu, cuda, cuda:N or auto.")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if int(index or 0) >= count:
        raise ConfigError(f"--device {wanted}: torch sees {count} CUDA devices here; use --device cpu or auto.")
    return wanted


def load_model(text: str, backend: str, device: str, catalogue: Catalogue) -> FoundModel:
    """Load the model that ``text`` names with ``backend``, or with the one that recognises it.

    Raises:
        ModelError, ConfigError: naming what was asked, what was found and what to do.
    """
    if not text:
        raise ConfigError("No model was named: use --model CHECKPOINT, --model FOLDER, or --model demo.")
    shipped = catalogue.models.get(text)
    ref = ModelRef(str(shipped.path())) if shipped else ModelRef(text)
    if shipped and not ref.path.is_file():
        raise ModelError(f"The model '{text}' should ship with its plugin, but its file is missing; install it again.")
    spec = _chosen(backend, catalogue) if backend else _recognising(ref, text, catalogue)
    reason = unavailable_reason(spec.requires, spec.extra)
    if reason:
        raise ConfigError(f"The backend '{spec.name}' {reason}")
    with blamed_on(f"The backend '{spec.name}'"):
        model = spec.load().load(ref, device)
    return FoundModel(model, ref, spec.name, device, text if shipped else model.identity.name)


def _chosen(name: str, catalogue: Catalogue) -> BackendSpec:
    if name not in catalogue.backends:
        hint = did_you_mean(name, catalogue.backends)
        raise ConfigError(f"--backend {name}: there is no such backend.{hint} `ldm-eval list backends` shows them.")
    return catalogue.backends[name]


def _recognising(ref: ModelRef, text: str, catalogue: Catalogue) -> BackendSpec:
    surety: Mapping[str, float] = {
        name: _surety(spec, ref)
        for name, spec in catalogue.backends.items()
        if not unavailable_reason(spec.requires, spec.extra)
    }
    best = max(surety, key=lambda name: surety[name], default="")
    if best and surety[best] > 0:
        return catalogue.backends[best]
    if not ref.path.exists():
        hint = did_you_mean(text, catalogue.models)
        shipped = ", ".join(catalogue.models) or "none"
        raise ModelError(f"Model '{text}': there is no such file or folder.{hint} Shipped models: {shipped}.")
    state = _what_is_there(ref)
    raise ModelError(
        f"Model '{text}': {state}, and no backend recognises it (tried {', '.join(surety)}). It may be empty, "
        "truncated or of another kind; give a checkpoint made by `ldm-eval train`, or a folder, zip or npz of "
        "finished images."
    )


def _surety(spec: BackendSpec, ref: ModelRef) -> float:
    try:
        return spec.load().recognises(ref)
    except LdmEvalError:
        raise
    except Exception:  # a backend that breaks recognises nothing; the others are still asked
        return 0.0


def _what_is_there(ref: ModelRef) -> str:
    if ref.path.is_dir():
        return f"it is a folder of {sum(1 for _ in ref.path.iterdir())} entries"
    return f"it is a file of {ref.path.stat().st_size} bytes"
