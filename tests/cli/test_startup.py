from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import ldm_eval
from ldm_eval.cli.listing import KINDS
from ldm_eval.store.results import Results, save_results

Call = Callable[..., "subprocess.CompletedProcess[str]"]

_HEAVY = ("torch", "scipy.stats", "pandas", "torchvision", "sklearn")
_WATCH = f"""
import sys
from ldm_eval.cli import main
try:
    main(sys.argv[1:])
except SystemExit as leaving:
    print("EXIT", leaving.code, file=sys.stderr)
print("LOADED", [name for name in {_HEAVY!r} if name in sys.modules], file=sys.stderr)
"""


def _loaded(arguments: list[str], folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", _WATCH, *arguments], capture_output=True, text=True, cwd=folder, check=False
    )
    assert "LOADED" in done.stderr, done.stderr
    return done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        ["run", "--help"],
        ["run", "--show-config"],
        ["plugins"],
        ["plugins", "new", "blank-images"],
        ["plan", "--policy", "demo"],
        ["calibrate", "--help"],
        *(["list", k] for k in KINDS),
    ],
    ids=" ".join,
)
def test_light_commands_load_neither_torch_nor_other_heavy_libraries(arguments: list[str], tmp_path: Path) -> None:
    stderr = _loaded(arguments, tmp_path)
    assert "EXIT 0" in stderr
    assert "LOADED []" in stderr


def test_compare_loads_no_torch(folder: Path, results: Results) -> None:
    save_results(replace(results, partial=False), folder)
    stderr = _loaded(["compare", str(folder), str(folder)], folder)
    assert "EXIT 0" in stderr
    assert "LOADED []" in stderr


def test_show_loads_no_torch(folder: Path) -> None:
    stderr = _loaded(["show", str(folder)], folder)
    assert "EXIT 0" in stderr
    assert "LOADED []" in stderr


def test_gate_and_card_load_no_torch(folder: Path) -> None:
    policy = folder / "policy.toml"
    policy.write_text(
        'schema_version = 1\nname = "p"\n[[rules]]\nid = "r"\ncheck = "privacy/near_copy_rate"\n'
        'measurement = "near_copy_rate"\nat_most = 0.5\n'
    )
    stderr = _loaded(["gate", str(folder), "--policy", str(policy)], folder)
    assert "EXIT 4" in stderr  # the results are partial
    assert "'torch'" not in stderr
    stderr = _loaded(["card", str(folder)], folder)
    assert "EXIT 0" in stderr
    assert "'torch'" not in stderr


def test_help_answers_within_half_a_second(tmp_path: Path) -> None:
    def seconds() -> float:
        begun = time.perf_counter()
        subprocess.run([sys.executable, "-m", "ldm_eval", "--help"], capture_output=True, cwd=tmp_path, check=True)
        return time.perf_counter() - begun

    seconds()  # the first call writes the byte code
    taken = statistics.median(seconds() for _ in range(5))
    if taken > 0.5:  # a busy machine: measure against what Python alone needs there
        begun = time.perf_counter()
        subprocess.run([sys.executable, "-c", "import rich.console, typer"], check=True)
        assert taken <= 5 * (time.perf_counter() - begun)


def test_help_names_every_command_and_the_exit_codes(call: Call) -> None:
    done = call("--help", COLUMNS="80")
    assert done.returncode == 0
    for command in ("run", "gate", "card", "plan", "show", "train", "sample", "list", "plugins", "calibrate", "doctor"):
        assert f" {command} " in done.stdout
    assert "130 interrupted" in done.stdout


def test_version(call: Call) -> None:
    done = call("--version")
    assert (done.stdout, done.returncode) == (f"ldm-eval {ldm_eval.__version__}\n", 0)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["rnu"], "Did you mean 'run'?"),
        (["run", "--sampels", "3"], "--samples"),
        (["run", "--samples", "many"], "must be a whole number; found 'many'"),
        (["run", "--steps", "0"], "must be 1 or more; found '0'"),
        (["train", "--learning-rate", "fast"], "must be a number; found 'fast'"),
        (["list", "suits"], "Did you mean 'suites'?"),
        (["gate", "."], "Missing option '--policy'"),
        (["gate", ".", "--policy", "p.toml", "--as-of", "tomorrow"], "tomorrow"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_on_the_command_line_is_one_line_and_exit_code_two(
    arguments: list[str], words: str, call: Call
) -> None:
    done = call(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert words in done.stderr


def test_without_a_command_the_help_is_shown(call: Call) -> None:
    done = call()
    assert done.returncode == 2
    assert "Usage: ldm-eval" in done.stdout + done.stderr
    assert "Error" not in done.stderr


@pytest.mark.parametrize("arguments", [["--help"], ["list", "checks"], ["plugins"], ["rnu"]], ids=" ".join)
def test_a_pipe_gets_no_control_characters_also_in_github_actions(arguments: list[str], call: Call) -> None:
    done = call(*arguments, GITHUB_ACTIONS="true", CI="true")
    assert "\x1b" not in done.stdout + done.stderr


def test_completion_knows_commands_and_suites(call: Call) -> None:
    words = {"_LDM_EVAL_COMPLETE": "complete_bash", "COMP_WORDS": "ldm-eval ca", "COMP_CWORD": "1"}
    assert "card" in call(**words).stdout.split()
    words |= {"COMP_WORDS": "ldm-eval run --suite al", "COMP_CWORD": "3"}
    assert "all" in call(**words).stdout.split()
