from __future__ import annotations

from pathlib import Path

import pytest

from ldm_eval.errors import ConfigError
from ldm_eval.run.config import RunConfig, resolve_config


def test_option_beats_environment_beats_file_beats_default(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text("seed = 1\nsteps = 1\nsamples = 1\nbatch-size = 8\n")
    resolved = resolve_config({"seed": 3}, {"LDM_EVAL_SEED": "2", "LDM_EVAL_STEPS": "2"}, file)
    config = resolved.config
    assert (config.seed, config.steps, config.samples, config.batch_size, config.guidance) == (3, 2, 1, 8, 1.0)
    sources = resolved.sources
    assert (sources["seed"], sources["steps"], sources["samples"]) == ("option", "environment", "file")
    assert (sources["batch_size"], sources["guidance"]) == ("file", "default")


def test_every_setting_can_come_from_the_environment() -> None:
    environment = {
        "LDM_EVAL_MODEL": "m.pt",
        "LDM_EVAL_SUITE": "quality, privacy",
        "LDM_EVAL_RESUME": "no",
        "LDM_EVAL_OFFLINE": "1",
        "LDM_EVAL_GUIDANCE": "2.5",
    }
    config = resolve_config({}, environment).config
    assert config.model == "m.pt"
    assert config.suite == ("quality", "privacy")
    assert not config.resume
    assert config.offline
    assert config.guidance == 2.5


def test_check_settings_come_from_tables_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text('[checks."privacy/near_copies"]\nalpha = 0.5\n')
    assert resolve_config({}, {}, file).config.checks == {"privacy/near_copies": {"alpha": 0.5}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("smaples = 3", "Did you mean 'samples'"),
        ("samples = 'many'", "must be a whole number; found 'many'"),
        ("samples = 2.5", "must be a whole number"),
        ("samples = true", "must be a whole number"),
        ("samples = -1", "must be a positive number"),
        ("batch_size = 65", "1 to 64"),
        ("samples = inf", "must be a whole number; found inf"),
        ("guidance = inf", "zero or more, and finite"),
        ("check_timeout = inf", "at most 1e9 seconds"),
        ("checks.a.b = nan", "'checks' must be tables of texts, finite numbers"),
        ("resume = 'maybe'", "must be true or false"),
        ("checks = 3", "'checks' must be"),
        ("seed = [", "not valid TOML"),
    ],
)
def test_a_wrong_setting_is_named_with_what_was_found(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "run.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=message):
        resolve_config({}, {}, file)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml"):
        resolve_config({}, {}, tmp_path / "none.toml")


def test_settings_that_cannot_change_a_number_do_not_decide() -> None:
    one, two = RunConfig(output="a", debug=True, offline=True), RunConfig(output="b")
    assert one.deciding() == two.deciding()
    assert RunConfig(seed=1).deciding() != two.deciding()
