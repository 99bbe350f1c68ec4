"""Labels and groups from a CSV beside the images."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from ldm_eval_images.arrays import read_npz
from ldm_eval_images.folder import read_folder
from ldm_eval_images.labels import parse_annotations
from ldm_eval_images.zipped import read_zip

from ldm_eval.errors import DataError

IDS = ("a.png", "b.png", "c.png")


def test_columns_become_groups_and_missing_rows_unknown() -> None:
    notes = parse_annotations("id,tone,age\nc.png,dark,\na.png,light,old\n", "labels.csv", IDS)
    assert notes.groups["tone"].tolist() == ["light", "unknown", "dark"]
    assert notes.groups["age"].tolist() == ["old", "unknown", "unknown"]
    assert notes.labels is None


def test_labels_are_integers_in_the_order_of_the_images() -> None:
    notes = parse_annotations("label,id\n2,c.png\n0,a.png\n1,b.png\n", "labels.csv", IDS)
    assert notes.labels is not None
    assert notes.labels.dtype == np.int64
    assert notes.labels.tolist() == [0, 1, 2]
    assert not notes.groups


def test_prompts_are_no_group_and_an_image_may_be_without_one() -> None:
    notes = parse_annotations('id,prompt,tone\nc.png,"a cat, asleep",dark\na.png,  a dog ,\nb.png,,\n', "l.csv", IDS)
    assert notes.prompts is not None
    assert notes.prompts.tolist() == ["a dog", "", "a cat, asleep"]
    assert set(notes.groups) == {"tone"}
    rowless = parse_annotations("id,prompt\nb.png,unknown\n", "l.csv", IDS).prompts
    assert rowless is not None
    assert rowless.tolist() == ["", "unknown", ""]


def test_a_column_without_a_single_prompt_is_no_prompts() -> None:
    notes = parse_annotations("id,prompt\na.png,\n", "l.csv", IDS)
    assert notes.prompts is None
    assert not notes.groups


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "'id' column"),
        ("name,tone\na.png,x\n", "'id' column"),
        ("id,tone,tone\na.png,x,y\n", "distinct names"),
        ("id,tone\nd.png,x\n", r"'d\.png', which is not among the 3 images .*Did you mean"),
        ("id,tone\na.png,x\na.png,y\n", r"'a\.png' twice"),
        ("id,tone\na.png\n", "Row 2 .*1 cells"),
        ("id,label\na.png,1\nb.png,2\n", r"label of 'c\.png' .*'unknown'"),
        ("id,label\na.png,1\nb.png,2\nc.png,2.5\n", r"label of 'c\.png' .*'2\.5'"),
        ("id,label\na.png,1\nb.png,2\nc.png,99999999999999999999\n", r"label of 'c\.png' .*'9+'"),
        ('id,tone\na.png,"x\n', "not a CSV"),
    ],
)
def test_bad_files_say_what_is_wrong(text: str, words: str) -> None:
    with pytest.raises(DataError, match=words):
        parse_annotations(text, "labels.csv", IDS)


def test_each_format_finds_its_csv(folder: Path, tmp_path: Path) -> None:
    plain = read_folder(folder)
    assert not plain.groups
    (folder / "labels.csv").write_bytes(b"\xef\xbb\xbfid,tone\r\nsub/03.png,dark\r\n")
    by_folder = read_folder(folder)
    assert by_folder.groups["tone"].tolist() == ["unknown"] * 9 + ["dark"] + ["unknown"] * 2
    assert by_folder.digest == plain.digest

    np.savez(tmp_path / "a.npz", plain.pixels.transpose(0, 2, 3, 1))
    (tmp_path / "a.csv").write_text("id,tone\n2,light\n")
    assert read_npz(tmp_path / "a.npz").groups["tone"][2] == "light"
    (tmp_path / "a.npz.csv").write_text("id,tone\n2,dark\n")
    assert read_npz(tmp_path / "a.npz").groups["tone"][2] == "dark"

    with zipfile.ZipFile(tmp_path / "z.zip", "w") as archive:
        for file in folder.rglob("*.png"):
            archive.write(file, file.relative_to(folder).as_posix())
    (tmp_path / "z.zip.csv").write_text("id,tone\n01.png,light\n")
    assert read_zip(tmp_path / "z.zip").groups["tone"][0] == "light"
    with zipfile.ZipFile(tmp_path / "z.zip", "a") as archive:
        archive.write(folder / "labels.csv", "labels.csv")
    assert read_zip(tmp_path / "z.zip").groups["tone"][9] == "dark"


def test_every_format_gives_the_prompts_to_its_images(folder: Path, tmp_path: Path) -> None:
    plain = read_folder(folder)
    assert plain.prompts is None
    (folder / "labels.csv").write_text("id,prompt\nsub/03.png,two moons\n", encoding="utf-8")
    np.savez(tmp_path / "a.npz", plain.pixels.transpose(0, 2, 3, 1))
    (tmp_path / "a.csv").write_text("id,prompt\n9,two moons\n", encoding="utf-8")
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as archive:
        for file in (*folder.rglob("*.png"), folder / "labels.csv"):
            archive.write(file, file.relative_to(folder).as_posix())
    for images in (read_folder(folder), read_npz(tmp_path / "a.npz"), read_zip(tmp_path / "z.zip")):
        assert images.prompts is not None
        assert images.prompts.tolist() == [""] * 9 + ["two moons"] + [""] * 2
        assert not images.groups
        assert images.digest == plain.digest
