from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

Call = Callable[..., "subprocess.CompletedProcess[str]"]

RULE = (
    'schema_version = 1\nname = "strict"\n[[rules]]\nid = "no-copies"\ncheck = "privacy/near_copies"\n'
    'measurement = "exact_copy_rate"\nat_most = 0.01\n'
)


def test_plan_answers_for_every_rule_of_the_demo(call: Call) -> None:
    done = call("plan", "--policy", "demo", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["policy"] == "demo"
    by_rule = {rule["rule"]: rule for rule in document["rules"]}
    assert by_rule["no-exact-copies"]["n"] == 3446
    assert by_rule["quality-near-real"]["n"] is None
    assert "Needs a pilot run" in by_rule["quality-near-real"]["note"]
    assert document["samples"] >= 3446


def test_plan_prints_what_n_counts_and_the_chance_as_it_is(call: Call, tmp_path: Path) -> None:
    (tmp_path / "policy.toml").write_text(RULE)
    done = call("plan", "--policy", "policy.toml", "--assume", "no-copies=0.002", "--samples", "400")
    assert done.returncode == 0, done.stderr
    for words in ("no-copies", "n: samples", "0.002 (assumed): pass", "1,022", "at 400"):
        assert words in done.stdout


def test_an_assumption_that_is_no_number_is_refused(call: Call, tmp_path: Path) -> None:
    (tmp_path / "policy.toml").write_text(RULE)
    for text in ("no-copies", "no-copies=many", "=0.1", "no-copies=nan"):
        done = call("plan", "--policy", "policy.toml", "--assume", text)
        assert done.returncode == 2
        assert "write RULE=VALUE" in done.stderr


def test_plan_loads_no_torch(tmp_path: Path) -> None:
    (tmp_path / "policy.toml").write_text(RULE)
    watch = (
        "import sys\nfrom ldm_eval.cli import main\ntry:\n    main(['plan', '--policy', 'policy.toml'])\n"
        "except SystemExit as leaving:\n    print('EXIT', leaving.code)\n"
        "print([name for name in ('torch', 'scipy.stats', 'pandas', 'sklearn') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", watch], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert "EXIT 0" in done.stdout, done.stderr
    assert done.stdout.rstrip().endswith("[]")
