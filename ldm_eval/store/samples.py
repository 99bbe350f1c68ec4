"""Generated images on disk: fixed blocks of sample ids, one ``.npz`` shard per block, the manifest last.

A shard is named after the digest of the requests it answers, so a run that goes on with other settings can never
pick up another run's images; its content is checked against the per-sample digests inside it whenever it is read.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ldm_eval.api import ImageSet, SampleRequest
from ldm_eval.errors import StoreError
from ldm_eval.stats.digests import image_digest
from ldm_eval.store.atomic import canonical_json, read_json, write_json, write_with

__all__ = ["BLOCK_SIZE", "SampleRow", "SampleStore", "blocks_of", "chosen_images", "first_images", "kept_samples"]

BLOCK_SIZE = 64
"""The unit of work: sample ids 0..63, 64..127, ...; never depends on the machine."""

MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True)
class SampleRow:
    """One line of the store's table: what was asked and which pixels came back. ``label``: None without classes."""

    sample_id: int
    seed: int
    prompt: str | None
    group: str | None
    sha256: str
    label: int | None = None

    def to_json(self) -> dict[str, Any]:
        """The line as the manifest holds it; a sample of no class says nothing of classes."""
        line = asdict(self)
        if self.label is None:
            del line["label"]
        return line


def blocks_of(requests: Sequence[SampleRequest]) -> list[tuple[SampleRequest, ...]]:
    """Cut ``requests`` into blocks of ``BLOCK_SIZE`` consecutive ids."""
    return [tuple(requests[start : start + BLOCK_SIZE]) for start in range(0, len(requests), BLOCK_SIZE)]


class SampleStore:
    """The images of one run.

    Args:
        folder: Where the shards lie.
        requests: All requests of the run, in order of their ids.
        model_sha256: Digest of the weights; part of every shard's name.
    """

    def __init__(self, folder: Path, requests: Sequence[SampleRequest], model_sha256: str) -> None:
        self.folder = folder
        self._model_sha256 = model_sha256
        self._blocks = blocks_of(requests)

    @property
    def blocks(self) -> list[tuple[SampleRequest, ...]]:
        """The requests of each block."""
        return list(self._blocks)

    def missing(self) -> list[int]:
        """Numbers of the blocks that are not there, or whose content is damaged."""
        return [number for number in range(len(self._blocks)) if self._read(number) is None]

    def write(self, number: int, pixels: NDArray[np.uint8]) -> None:
        """Store the images of block ``number``: ``(n, 3, H, W) uint8`` in the order of its requests.

        Raises:
            StoreError: when the disk is full or cannot be written; blocks already written stay.
        """
        digests = np.array([_pixel_digest(image) for image in pixels])
        stored = np.ascontiguousarray(pixels.transpose(0, 2, 3, 1))

        def fill(stream: IO[bytes]) -> None:
            np.savez(stream, arr_0=stored, sha256=digests)

        write_with(self._path(number), fill)

    def seal(self) -> Path:
        """Write the manifest: the table of all samples. Call it when no block is missing.

        Raises:
            StoreError: when a block is missing.
        """
        rows = self.table()
        path = self.folder / MANIFEST
        shards = [self._path(number).name for number in range(len(self._blocks))]
        write_json(path, {"schema_version": 1, "shards": shards, "samples": [row.to_json() for row in rows]})
        return path

    def table(self) -> tuple[SampleRow, ...]:
        """One row per sample, in order. Raises StoreError when a block is missing."""
        rows: list[SampleRow] = []
        for number, block in enumerate(self._blocks):
            pixels = self._block(number)
            for request, image in zip(block, pixels, strict=True):
                asked = (request.sample_id, request.seed, request.prompt, request.group)
                rows.append(SampleRow(*asked, _pixel_digest(image), request.label))
        return tuple(rows)

    def images(self, channels: int = 3) -> ImageSet:
        """All samples as a set, with their class labels and prompts when each has one.

        ``channels`` 1 undoes the replication of grey images.

        Raises:
            StoreError: when a block is missing or damaged.
        """
        parts = [self._block(number)[:, :channels] for number in range(len(self._blocks))]
        pixels = np.ascontiguousarray(np.concatenate(parts))
        ids = tuple(str(request.sample_id) for block in self._blocks for request in block)
        labels = [request.label for block in self._blocks for request in block if request.label is not None]
        classes = np.array(labels, dtype=np.int64) if labels and len(labels) == len(ids) else None
        asked = [request.prompt for block in self._blocks for request in block if request.prompt]
        prompts = np.array(asked, dtype=str) if asked and len(asked) == len(ids) else None
        return ImageSet("samples", "", pixels, ids, image_digest(pixels), labels=classes, prompts=prompts)

    def _block(self, number: int) -> NDArray[np.uint8]:
        pixels = self._read(number)
        if pixels is None:
            raise StoreError(f"Block {number} of the samples in {self.folder} is missing or damaged; sample it again.")
        return pixels

    def _read(self, number: int) -> NDArray[np.uint8] | None:
        path = self._path(number)
        if not path.is_file():
            return None
        try:
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as shard:
                stored, digests = shard["arr_0"], shard["sha256"]
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None
        if stored.dtype != np.uint8 or stored.ndim != 4 or len(stored) != len(self._blocks[number]):
            return None
        pixels: NDArray[np.uint8] = stored.transpose(0, 3, 1, 2)
        intact = [_pixel_digest(image) for image in pixels] == [str(digest) for digest in digests]
        return pixels if intact else None

    def _path(self, number: int) -> Path:
        asked = canonical_json([self._model_sha256, [asdict(request) for request in self._blocks[number]]])
        return self.folder / f"{number:06d}-{hashlib.sha256(asked.encode()).hexdigest()[:16]}.npz"


def first_images(folder: Path, count: int) -> NDArray[np.uint8] | None:
    """The first ``count`` samples of a sealed store as ``(n, 3, H, W) uint8``; None when they are not kept there.

    Raises:
        StoreError: when the manifest is damaged.
    """
    manifest = folder / MANIFEST
    if not manifest.is_file():
        return None
    parts: list[NDArray[np.uint8]] = []
    for name in read_json(manifest)["shards"][: -(-count // BLOCK_SIZE)]:
        path = folder / Path(name).name
        if not path.is_file():
            return None
        parts.append(_shard(path))
    return np.concatenate(parts)[:count] if parts else None


def kept_samples(folder: Path) -> int:
    """How many samples a sealed store holds by its manifest; 0 when there is none.

    Raises:
        StoreError: when the manifest is damaged.
    """
    manifest = folder / MANIFEST
    return len(read_json(manifest)["samples"]) if manifest.is_file() else 0


def chosen_images(folder: Path, rows: Sequence[int]) -> list[NDArray[np.uint8]]:
    """The samples in ``rows`` of a sealed store, each ``(3, H, W) uint8``; only the shards they lie in are read.

    Raises:
        StoreError: when a shard is missing or damaged.
    """
    shards = read_json(folder / MANIFEST)["shards"]
    found: dict[int, NDArray[np.uint8]] = {}
    for number in sorted({row // BLOCK_SIZE for row in rows}):
        block = _shard(folder / Path(shards[number]).name)
        found |= {row: block[row % BLOCK_SIZE].copy() for row in rows if row // BLOCK_SIZE == number}
    return [found[row] for row in rows]


def _shard(path: Path) -> NDArray[np.uint8]:
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as shard:
            pixels: NDArray[np.uint8] = shard["arr_0"].transpose(0, 3, 1, 2)
            return pixels
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise StoreError(f"{path} is damaged ({error}); run again with --no-resume.") from error


def _pixel_digest(image: NDArray[np.uint8]) -> str:
    """SHA-256 of one ``(3, H, W)`` image in (H, W, C) order, the order it is stored in."""
    return hashlib.sha256(np.ascontiguousarray(image.transpose(1, 2, 0)).data).hexdigest()
