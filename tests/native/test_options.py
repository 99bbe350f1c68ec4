import subprocess
import sys

import pytest
from ldm_eval_native.options import TrainingOptions, option_help, parse_options

from ldm_eval.errors import ConfigError


def test_defaults_and_typed_or_written_values_are_read():
    assert parse_options({}) == TrainingOptions()
    written = parse_options({"channels": "16", "labels": "true", "ema_decay": "0.9", "multipliers": "1,2,4"})
    typed = parse_options({"channels": 16, "labels": True, "ema_decay": 0.9, "multipliers": "1,2,4"})
    assert written == typed
    assert written.multiplier_values == (1, 2, 4)


def test_one_level_may_be_written_as_a_number():
    assert parse_options({"multipliers": 2}).multiplier_values == (2,)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"chanels": 8}, "Did you mean 'channels'"),
        ({"channels": "many"}, "whole number"),
        ({"channels": 2.5}, "whole number"),
        ({"labels": "perhaps"}, "true or false"),
        ({"ema_decay": "nan"}, "between 0 and"),
        ({"ema_decay": 1.0}, "between 0 and"),
        ({"blocks": 0}, "between 1 and 8"),
        ({"weights": "bfloat16"}, "float32 or float16"),
        ({"prediction": "x_0"}, "epsilon, x0 or v"),
        ({"timesteps": 20}, "50 sampling steps exceeds"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        parse_options(options)


def test_multipliers_that_are_no_numbers_are_refused():
    with pytest.raises(ConfigError, match="1,2,2"):
        _ = parse_options({"multipliers": "1;2"}).multiplier_values


def test_the_help_names_every_schedule_and_prediction():
    from ldm_eval.diffusion.schedules import SCHEDULES

    assert all(name in option_help()["schedule"] for name in SCHEDULES)
    assert all(name in option_help()["prediction"] for name in ("epsilon", "x0", "v"))


def test_every_option_has_help_and_listing_needs_no_torch():
    assert all(len(text) > 15 for text in option_help().values())
    calls = "n.ldm_eval_backends(); n.ldm_eval_trainers()"
    code = f"import sys, ldm_eval_native as n; {calls}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
