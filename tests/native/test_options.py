import subprocess
import sys

import pytest
from ldm_eval_native.options import (
    AutoencoderOptions,
    LoopOptions,
    TrainingOptions,
    option_help,
    parse_autoencoder_options,
    parse_options,
)

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
        ({"precision": "float16"}, "auto, float32 or bfloat16"),
        ({"preview_every": -1}, "between 0 and"),
        ({"curves": "sometimes"}, "true or false"),
        ({"kl": 1e-6}, "The native trainer has no option 'kl'"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        parse_options(options)


def test_multipliers_that_are_no_numbers_are_refused():
    with pytest.raises(ConfigError, match="1,2,2"):
        _ = parse_options({"multipliers": "1;2"}).multiplier_values


@pytest.mark.parametrize(
    ("options", "levels"),
    [({}, (1, 2, 2)), ({"downsampling": 1, "multipliers": 3}, (3,)), ({"downsampling": 8}, (1, 2, 2, 2))],
)
def test_an_autoencoder_has_a_multiplier_per_level(options, levels):
    assert parse_autoencoder_options(options).multiplier_values == levels


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"downsampling": 3}, "1, 2, 4, 8, 16 or 32; found 3"),
        ({"downsampling": 2, "multipliers": "1,2,4"}, "2 levels"),
        ({"downsampling": 64}, "between 1 and 32"),
        ({"multipliers": "one"}, "1,2,2"),
        ({"latent_channels": 0}, "between 1 and 64"),
        ({"kl": "nan"}, "between 0 and"),
        ({"kl": -1}, "between 0 and"),
        ({"reconstruction": "l2"}, "l1 or mse; found 'l2'"),
        ({"latent_chanels": 4}, "autoencoder trainer has no option.*Did you mean 'latent_channels'"),
    ],
)
def test_bad_options_of_an_autoencoder_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        _ = parse_autoencoder_options(options).multiplier_values


def test_both_trainers_share_the_options_of_the_loop():
    shared = set(LoopOptions.__dataclass_fields__)
    assert shared < option_help(TrainingOptions).keys() & option_help(AutoencoderOptions).keys()


def test_what_only_changes_files_does_not_shape_weights():
    shaping = parse_options({}).shaping_weights()
    assert "channels" in shaping
    assert not {"curves", "preview_every", "save_every", "licence", "autoencoder", "precision"} & shaping.keys()
    assert "prediction" not in shaping
    assert parse_options({"prediction": "v"}).shaping_weights()["prediction"] == "v"


def test_the_help_names_every_schedule_and_prediction():
    from ldm_eval.diffusion.schedules import SCHEDULES

    assert all(name in option_help()["schedule"] for name in SCHEDULES)
    assert all(name in option_help()["prediction"] for name in ("epsilon", "x0", "v"))


def test_every_option_has_help_and_listing_needs_no_torch():
    helps = [*option_help().values(), *option_help(AutoencoderOptions).values()]
    assert all(len(text) > 15 for text in helps)
    calls = "n.ldm_eval_backends(); n.ldm_eval_trainers()"
    code = f"import sys, ldm_eval_native as n; {calls}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
