"""A zip of pictures, read where it lies: nothing is extracted, so names in it can point nowhere."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

from ldm_eval.api import ImageSet
from ldm_eval.errors import DataError
from ldm_eval.stats.digests import image_digest
from ldm_eval_images.broken import BROKEN_ZIP
from ldm_eval_images.folder import LABELS
from ldm_eval_images.gathering import gather
from ldm_eval_images.labels import Annotations, beside, parse_annotations, read_annotations
from ldm_eval_images.pictures import SUFFIXES, is_picture_name

MAX_MEMBERS = 1_000_000
MAX_MEMBER_BYTES = 256 << 20
MAX_TOTAL_BYTES = 64 << 30
MAX_RATIO = 200
"""Uncompressed over compressed size that a member above 10 MiB may have; pictures are compressed already."""

_RATIO_COUNTS_FROM = 10 << 20


def holds_pictures(path: Path) -> bool:
    """True for a zip with a picture in it that is not a saved network (those hold ``*/data.pkl``)."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except BROKEN_ZIP:
        return False
    if any(name.rpartition("/")[2] == "data.pkl" for name in names):
        return False
    return any(is_picture_name(name) for name in names)


def read_zip(path: Path) -> ImageSet:
    """Read every picture in a zip; ids are member names in sorted order.

    Labels come from ``labels.csv`` in the zip, or from ``<file>.csv`` beside it.

    Raises:
        DataError: no file, not a whole zip, encrypted, a bomb, no pictures, a picture that cannot be used, mixed sizes.
    """
    if not path.is_file():
        raise DataError(f"There is no file '{path}'. Give a folder of pictures, a zip or an npz file.")
    try:
        with zipfile.ZipFile(path) as archive:
            names = _checked_names(archive, path)
            pixels = gather(names, lambda name: _member(archive, path, name))
            notes = _annotations(archive, path, names)
    except BROKEN_ZIP as error:
        size = path.stat().st_size
        raise DataError(f"'{path}' ({size:,} bytes) is not a whole zip file ({error}); copy it again.") from error
    return ImageSet(
        name=path.stem,
        split="",
        pixels=pixels,
        ids=tuple(names),
        digest=image_digest(pixels),
        groups=notes.groups,
        labels=notes.labels,
        prompts=notes.prompts,
    )


def _checked_names(archive: zipfile.ZipFile, path: Path) -> list[str]:
    members = archive.infolist()
    if len(members) > MAX_MEMBERS:
        raise DataError(f"'{path}' has {len(members):,} members, more than {MAX_MEMBERS:,}; split it.")
    pictures = [member for member in members if not member.is_dir() and is_picture_name(member.filename)]
    if not pictures:
        raise DataError(f"'{path}' holds no pictures ({len(members)} members). Pictures end in {', '.join(SUFFIXES)}.")
    for member in pictures:
        _refuse_bad_member(member, path)
    total = sum(member.file_size for member in pictures)
    if total > MAX_TOTAL_BYTES:
        raise DataError(f"The pictures in '{path}' unpack to {total / 1e9:.0f} GB; split it.")
    names = sorted(member.filename for member in pictures)
    if len(set(names)) != len(names):
        raise DataError(f"'{path}' holds two members of the same name; pack it again.")
    return names


def _refuse_bad_member(member: zipfile.ZipInfo, path: Path) -> None:
    if member.flag_bits & 0x1:
        raise DataError(f"'{path}' is encrypted ('{member.filename}'); pack it again without a password.")
    bomb = member.file_size > _RATIO_COUNTS_FROM and member.file_size > MAX_RATIO * max(1, member.compress_size)
    if bomb or member.file_size > MAX_MEMBER_BYTES:
        raise DataError(
            f"'{member.filename}' in '{path}' unpacks from {member.compress_size:,} to {member.file_size:,} bytes; "
            "a picture does not. It was not read."
        )


def _member(archive: zipfile.ZipFile, path: Path, name: str) -> bytes:
    try:
        return archive.read(name)
    except BROKEN_ZIP as error:
        raise DataError(f"'{name}' in '{path}' cannot be read ({error}); copy or pack the zip again.") from error


def _annotations(archive: zipfile.ZipFile, path: Path, names: Sequence[str]) -> Annotations:
    if LABELS not in archive.namelist():
        return read_annotations(beside(path), names)
    _refuse_bad_member(archive.getinfo(LABELS), path)
    try:
        text = _member(archive, path, LABELS).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"'{LABELS}' in '{path}' is not UTF-8 ({error}).") from error
    return parse_annotations(text, f"{path}:{LABELS}", names)
