"""From a run to a filled-in table and back, by the real commands."""

import csv
import json

import numpy as np
import pytest

from ldm_eval.cli import main


def exit_code(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(list(arguments))
    return int(caught.value.code or 0)


def pictures(path, bright):
    """Grey noise around a bright or a dark level."""
    rng = np.random.Generator(np.random.PCG64(len(bright)))
    level = np.where(bright, 200, 50)[:, None, None, None]
    np.savez(path, arr_0=(level + rng.integers(-30, 30, (len(bright), 8, 8, 1))).astype(np.uint8))


@pytest.fixture(scope="module")
def audited(tmp_path_factory):
    """A run of 100 finished images, 60 of them answered as its classifier did, but for five of them."""
    base = tmp_path_factory.mktemp("audit")
    run, folder = base / "run", base / "audit"
    pictures(base / "samples.npz", np.arange(100) % 4 > 0)
    pictures(base / "real.npz", np.arange(160) % 2 > 0)
    rows = [f"{i},{'bright' if i % 2 else 'dark'}" for i in range(160)]
    (base / "real.npz.csv").write_text("\n".join(["id,tone", *rows]) + "\n")
    given = ["--model", str(base / "samples.npz"), "--data", str(base / "real.npz"), "--samples", "100"]
    settings = ["--suite", "fairness/representation", "--threads", "1", "--output", str(run)]
    assert exit_code("run", *given, *settings) == 0
    assert exit_code("audit", "export", str(run), "--output", str(folder), "--images", "60") == 0
    (path,) = (run / "private" / "attributes").iterdir()
    with np.load(path) as stored:
        labels = stored["labels"]
    record = json.loads((folder / "audit.json").read_text())
    said = [(item["id"], str(labels[item["row"]])) for item in record["images"]]
    changed = [name for name, label in said if label == "bright"][:5]
    with (folder / "labels.csv").open("w", newline="") as file:
        answers = [(name, "dark" if name in changed else label) for name, label in said]
        csv.writer(file).writerows([("id", "label"), *answers])
    return folder


def test_what_people_saw_moves_the_shares(audited, capsys):
    capsys.readouterr()
    assert exit_code("audit", "import", str(audited), "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["attribute"], document["audited"], document["unaudited"]) == ("tone", 60, 40)
    assert sum(map(sum, document["confusion"]["people_by_classifier"])) == 60
    dark = next(share for share in document["shares"] if share["name"] == "dark")["prediction_powered"]
    assert dark["rectifier"] == pytest.approx(5 / 60)
    assert dark["value"] == pytest.approx(dark["called"] + 5 / 60)
    assert dark["low"] <= dark["value"] <= dark["high"]


def test_the_tables_say_whose_eyes_and_which_level(audited, capsys):
    capsys.readouterr()
    assert exit_code("audit", "import", str(audited)) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "Perceived, by people, on 60 of 100 generated images: tone." in text
    assert "hold together at 95% (each at 98.3%)" in text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("import", "{folder}", "--level", "1"), "from 0.5 to below 1"),
        (("import", "nowhere"), "audit.json"),
        (("export", "nowhere", "--output", "somewhere"), "no results.json in nowhere"),
    ],
)
def test_wrong_calls_say_what_is_wrong(audited, capsys, arguments, said):
    assert exit_code("audit", *(one.format(folder=audited) for one in arguments)) == 2
    assert said in capsys.readouterr().err
