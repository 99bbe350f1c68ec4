"""Weights: found, checked against their SHA-256, read without unpickling, never half-written."""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
import tempfile
import urllib.error
import urllib.request
import warnings
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import nn

from ldm_eval.api import ExtractorContext
from ldm_eval.errors import ConfigError
from ldm_eval_features.torchscript import is_torchscript, read_torchscript

_CHUNK = 1 << 20
_COUNTERS = "num_batches_tracked"
_UNREADABLE = (
    pickle.UnpicklingError,
    safetensors.SafetensorError,
    zipfile.BadZipFile,
    RuntimeError,
    EOFError,
    OSError,
    ValueError,
    KeyError,
    AttributeError,
    TypeError,
    IndexError,
)


@dataclass(frozen=True, slots=True)
class PublishedWeights:
    """A file of weights that everybody can get: its name, where it is published, its SHA-256 (hex).

    Attributes:
        also: SHA-256 of files in which the same publisher offers the same weights in another container.
    """

    name: str
    url: str
    sha256: str
    also: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class StateDict:
    """Weights as read from a file; ``published`` is True when the file is byte for byte a published one."""

    tensors: Mapping[str, torch.Tensor]
    published: bool


def find(published: PublishedWeights, context: ExtractorContext) -> Path:
    """The user's file, the cached copy, or a fresh download, in that order.

    Raises:
        ConfigError: the user's file is not there, or there is no copy and the network is forbidden or fails.
    """
    if context.weights is not None:
        if not context.weights.is_file():
            raise ConfigError(f"--extractor-weights {context.weights}: there is no such file.")
        return context.weights
    cached = context.cache_dir / published.name
    if cached.is_file() and file_sha256(cached) == published.sha256:
        return cached
    if context.offline:
        raise ConfigError(
            f"The weights '{published.name}' are not here; with --offline (and in doctor) nothing is fetched. "
            f"Get {published.url} (SHA-256 {published.sha256}) where there is a network, then give the file with "
            f"--extractor-weights FILE, or put it at {cached}."
        )
    _download(published, cached)
    return cached


def read(path: Path, published: PublishedWeights) -> StateDict:
    """Read a state dict as float32 on the CPU; nothing in the file is executed.

    Taken are archives of ``torch.save`` and ``torch.jit.save``, and safetensors: by content, whatever the name.

    Raises:
        ConfigError: not a state dict, truncated, a pickle that wants to run code, or weights that are not finite.
    """
    try:
        with warnings.catch_warnings():  # about pickle protocols; what cannot be read raises all the same
            warnings.simplefilter("ignore", UserWarning)
            content = _content(path)
    except _UNREADABLE as error:
        reason = str(error).strip().partition("\n")[0]
        raise ConfigError(
            f"The weights in '{path}' cannot be read ({reason}); expected a plain PyTorch state dict such as "
            f"'{published.name}'. The file may be truncated, or hold objects that are refused."
        ) from error
    if not isinstance(content, Mapping) or not all(isinstance(value, torch.Tensor) for value in content.values()):
        raise ConfigError(f"'{path}' does not hold a state dict (names and tensors), as '{published.name}' does.")
    tensors = {str(name): tensor for name, tensor in content.items() if not str(name).endswith(_COUNTERS)}
    bad = [name for name, tensor in tensors.items() if not torch.isfinite(tensor).all()]
    if bad:
        raise ConfigError(f"'{bad[0]}' in '{path}' holds values that are not finite; get the file again.")
    tensors = {name: tensor.float() for name, tensor in tensors.items()}
    return StateDict(tensors, published=file_sha256(path) in (published.sha256, *published.also))


def _content(path: Path) -> object:
    if _is_safetensors(path):
        return safetensors.torch.load_file(path)
    if is_torchscript(path):
        return read_torchscript(path)
    return torch.load(path, map_location="cpu", weights_only=True)


def _is_safetensors(path: Path) -> bool:
    """True when the file begins with the length of a JSON header, and its brace."""
    with path.open("rb") as stream:
        start = stream.read(9)
    return len(start) == 9 and start[8:] == b"{" and int.from_bytes(start[:8], "little") < path.stat().st_size


def fill(network: nn.Module, state: StateDict, published: PublishedWeights) -> None:
    """Give ``network`` (built on the meta device) its weights; names and shapes must be exactly its own.

    Raises:
        ConfigError: naming what is missing, what is too much, or the first shape that differs.
    """
    expected = {name: value.shape for name, value in network.state_dict().items() if not name.endswith(_COUNTERS)}
    missing = sorted(expected.keys() - state.tensors.keys())
    extra = sorted(state.tensors.keys() - expected.keys())
    shapes = [name for name in expected.keys() & state.tensors.keys() if state.tensors[name].shape != expected[name]]
    if missing or extra or shapes:
        found = (
            f"{len(missing)} names are missing ({', '.join(missing[:3])}), {len(extra)} are unknown "
            f"({', '.join(extra[:3])}), {len(shapes)} have another shape ({', '.join(sorted(shapes)[:3])})"
        )
        raise ConfigError(f"The weights do not belong to this network: {found}. Expected those of '{published.name}'.")
    network.load_state_dict(dict(state.tensors), strict=False, assign=True)
    network.requires_grad_(False)
    network.eval()


def weights_digest(tensors: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 over names, shapes and float32 values in order of name: equal weights in any container are equal."""
    digest = hashlib.sha256(b"ldm-eval weights 1\n")
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().float().contiguous()
        digest.update(f"{name} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.numpy().astype("<f4", copy=False).tobytes())
    return digest.hexdigest()


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, hex. Raises ConfigError when it cannot be read."""
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise ConfigError(f"The weights in '{path}' cannot be read ({error}).") from error


def _download(published: PublishedWeights, target: Path) -> None:
    """Fetch to a temporary file beside ``target``, check, and move it there."""
    advice = f"Get {published.url} by hand and give the file with --extractor-weights FILE."
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        try:
            with os.fdopen(handle, "wb") as stream:
                digest = _copy(published.url, stream.write)
                stream.flush()
                os.fsync(stream.fileno())
            if digest != published.sha256:
                raise ConfigError(
                    f"{published.url} gave a file with SHA-256 {digest}, expected {published.sha256}. "
                    f"It was not kept. {advice}"
                )
            Path(temporary).replace(target)
        finally:
            with contextlib.suppress(FileNotFoundError):
                Path(temporary).unlink()
    except (urllib.error.URLError, OSError) as error:
        raise ConfigError(f"The weights '{published.name}' could not be fetched ({error}). {advice}") from error


def _copy(url: str, write: Callable[[bytes], object]) -> str:
    digest = hashlib.sha256()
    with urllib.request.urlopen(url, timeout=60) as answer:  # noqa: S310  (a constant https address)
        while chunk := answer.read(_CHUNK):
            digest.update(chunk)
            write(chunk)
    return digest.hexdigest()
