"""A table for people and back: what they are not shown, and every way in which the table can come back wrong."""

import csv
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from ldm_eval.api import AttributeLabels, ConfusionCounts, SampleRequest, SamplingSettings
from ldm_eval.errors import ConfigError, DataError, StoreError
from ldm_eval.run.audit_folder import export_audit, read_audit
from ldm_eval.store.attributes import kept_labels, load_labels, save_labels
from ldm_eval.store.results import Results, save_results
from ldm_eval.store.samples import SampleStore

N = 130


def finished(folder, *, seed=1, labels=None):
    """A run of 130 images of 2 x 3 pixels with labels, as far as an audit looks at it."""
    rng = np.random.Generator(np.random.PCG64(seed))
    settings = SamplingSettings("ddim", 5)
    store = SampleStore(folder / "samples", tuple(SampleRequest(i, i, settings) for i in range(N)), "0" * 64)
    for number, block in enumerate(store.blocks):
        store.write(number, rng.integers(0, 256, (len(block), 3, 2, 3), dtype=np.uint8))
    store.seal()
    digest = store.images().digest
    empty = {"tool": {}, "model": {}, "run": {}, "data": (), "plugins": (), "checks": (), "unavailable": ()}
    save_results(
        Results(**empty, artifacts={"samples": digest}, partial=False, policy_digest=None, reproduce=""), folder
    )
    names = rng.choice(["child", "adult", "unknown"], N) if labels is None else labels
    confusion = ConfusionCounts(("child", "adult"), ((9, 1, 0), (0, 10, 0)), "real images")
    found = AttributeLabels("perceived age band", "ages", "limits", names, confusion, {"child": 1.0})
    save_labels(kept_labels(folder / "private", digest), found)
    return folder


@pytest.fixture
def run(tmp_path):
    return finished(tmp_path / "run")


@pytest.fixture
def folder(run, tmp_path):
    export_audit(run, tmp_path / "audit", 60, 0)
    return tmp_path / "audit"


def fill(folder, label="adult"):
    table = folder / "labels.csv"
    lines = table.read_text().splitlines()
    table.write_text("\n".join([lines[0], *(line + label for line in lines[1:])]) + "\n")
    return table


def test_kept_labels_come_back_as_they_were(run):
    (path,) = (run / "private" / "attributes").iterdir()
    found = load_labels(path)
    assert (found.attribute, found.classifier, found.limits, found.declared) == (
        "perceived age band",
        "ages",
        "limits",
        {"child": 1.0},
    )
    assert found.confusion.counts == ((9, 1, 0), (0, 10, 0))


def test_damaged_labels_are_named(run, tmp_path):
    (path,) = (run / "private" / "attributes").iterdir()
    path.write_bytes(b"nothing")
    with pytest.raises(StoreError, match="--no-resume"):
        export_audit(run, tmp_path / "other", 60, 0)


def test_answers_come_back_beside_the_samples_they_are_of(run, folder):
    record = json.loads((folder / "audit.json").read_text())
    stored = load_labels(next((run / "private" / "attributes").iterdir())).labels
    rows = {item["id"]: item["row"] for item in record["images"]}
    with (folder / "labels.csv").open("w", newline="", encoding="utf-8-sig") as file:  # as a spreadsheet would: sorted
        writer = csv.writer(file, delimiter=";")
        writer.writerows([("id", "label"), *((name, f" {stored[rows[name]]} ") for name in sorted(rows))])
    audit = read_audit(folder)
    assert len(set(audit.rows)) == 60
    assert audit.people.tolist() == [stored[row] for row in audit.rows]


def test_the_images_are_those_samples_enlarged_pixel_by_pixel(run, folder):
    record = json.loads((folder / "audit.json").read_text())
    with np.load(sorted((run / "samples").glob("000001-*.npz"))[0]) as shard:
        pixels = shard["arr_0"]
    item = next(item for item in record["images"] if 64 <= item["row"] < 128)
    image = np.asarray(Image.open(folder / "images" / f"{item['id']}.png"))
    assert image.shape == (170, 255, 3)
    np.testing.assert_array_equal(image[::85, ::85], pixels[item["row"] - 64])


def test_the_classifiers_labels_are_nowhere_in_the_folder(run, tmp_path):
    """Two runs with the same images and other labels give folders that differ in one digest alone."""
    other = finished(tmp_path / "elsewhere" / "run", labels=np.array(["child"] * N))
    for source in (run, other):
        export_audit(source, source.parent / "to audit", 60, 0)
    first, second = (source.parent / "to audit" for source in (run, other))
    assert {path.name for path in first.iterdir()} == {"README.txt", "audit.json", "images", "labels.csv"}
    for path in first.rglob("*"):
        if path.is_file() and path.name != "audit.json":
            assert path.read_bytes() == (second / path.relative_to(first)).read_bytes()
    one, two = (json.loads((folder / "audit.json").read_text()) for folder in (first, second))
    assert {key for key in one if one[key] != two[key]} == {"labels", "sha256"}


def test_the_seed_draws_and_draws_alike(run, tmp_path):
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        export_audit(run, tmp_path / name, 60, seed)
    read = [(tmp_path / name / "audit.json").read_text() for name in "abc"]
    assert read[0] == read[1] != read[2]


@pytest.mark.parametrize("images", [49, N + 1])
def test_too_few_and_too_many_images_are_refused(run, tmp_path, images):
    with pytest.raises(ConfigError, match="from 50 to all 130 samples"):
        export_audit(run, tmp_path / "audit", images, 0)
    assert not (tmp_path / "audit").exists()


def test_an_audit_is_never_written_over_another(run, folder):
    with pytest.raises(ConfigError, match="not an empty folder"):
        export_audit(run, folder, 60, 0)


def test_a_run_without_labels_says_how_they_come_about(run, tmp_path):
    shutil.rmtree(run / "private")
    with pytest.raises(ConfigError, match="fairness/representation"):
        export_audit(run, tmp_path / "audit", 60, 0)


def test_a_run_without_its_samples_is_refused(run, tmp_path):
    shutil.rmtree(run / "samples")
    with pytest.raises(ConfigError, match="keeps 0 of its 130 samples"):
        export_audit(run, tmp_path / "audit", 60, 0)


def rewrite(table, change):
    table.write_text(change(table.read_text()))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text.replace("g7,adult", "g7,adlut"), r"line 8: 'adlut' is none of .* Did you mean 'adult'"),
        (lambda text: text.replace("g7,adult\n", ""), "has no row for g7. Label every image"),
        (lambda text: text.replace(",adult", ","), "has no label for g1, g2, g3, g4, g5 and 55 more"),
        (lambda text: text.replace("g7,", "g700,"), "line 8: there is no image 'g700'"),
        (lambda text: text + "g7,child\n", "line 62: 'g7' stands there twice"),
        (
            lambda text: text.replace("id,label", "name,label"),
            "must begin with the columns id, label; found name, label",
        ),
        (
            lambda text: text.replace("g7,adult", "g7,adult,sure"),
            "every row has an id and a label; found 'g7,adult,sure'",
        ),
        (lambda text: "", "found nothing"),
    ],
)
def test_a_table_that_came_back_wrong_says_where(folder, change, said):
    rewrite(fill(folder), change)
    with pytest.raises(DataError, match=said):
        read_audit(folder)


def test_a_table_in_another_encoding_and_a_missing_one_are_named(folder):
    table = fill(folder)
    table.write_bytes("id,label\ng1,Kind é\n".encode("cp1252"))
    with pytest.raises(DataError, match="UTF-8"):
        read_audit(folder)
    table.unlink()
    with pytest.raises(DataError, match="There is no table"):
        read_audit(folder)


def test_an_edited_record_and_an_edited_image_are_refused(folder):
    fill(folder)
    shutil.copy(folder / "images" / "g1.png", folder / "images" / "g2.png")
    with pytest.raises(DataError, match=r"g2\.png is not the image that was exported"):
        read_audit(folder)
    (folder / "images" / "g2.png").unlink()  # one that is gone does no harm
    assert len(read_audit(folder).people) == 60
    rewrite(folder / "audit.json", lambda text: text.replace('"g1"', '"g10"'))
    with pytest.raises(DataError, match="was edited"):
        read_audit(folder)


def test_another_run_and_a_run_that_was_moved_are_told_apart(run, folder, tmp_path):
    fill(folder)
    with pytest.raises(ConfigError, match="is another run"):
        read_audit(folder, finished(tmp_path / "other", seed=2))
    shutil.move(run, tmp_path / "moved")
    with pytest.raises(ConfigError, match="--run DIR"):
        read_audit(folder)
    assert len(read_audit(folder, tmp_path / "moved").people) == 60


def test_labels_that_changed_since_are_refused(run, folder):
    fill(folder)
    finished(run, labels=np.array(["child"] * N))
    with pytest.raises(ConfigError, match="changed since"):
        read_audit(folder)


def test_a_folder_of_something_else_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"no audit\.json"):
        read_audit(tmp_path)
