"""Seeds that depend on what they are for and on nothing else. Pure Python: planning a run needs no torch."""

from __future__ import annotations

import hashlib

from ldm_eval.errors import ConfigError

__all__ = ["SEED_RULE", "derived_seed", "sample_seed"]

SEED_RULE = "sha256/v1"
"""Name of the rule below, for protocol signatures: samples made under another rule are other samples."""


def derived_seed(run_seed: int, purpose: str, *numbers: int) -> int:
    """Return a 63-bit seed that is a function of the arguments alone.

    Args:
        run_seed: Seed of the run, >= 0.
        purpose: What the randomness is for; different purposes never share a stream.
        *numbers: Position within the purpose (sample id, step, epoch).

    Raises:
        ConfigError: for a negative run seed.
    """
    if run_seed < 0:
        raise ConfigError(f"A seed must be zero or more; found {run_seed}. Choose another --seed.")
    text = "\n".join(["ldm-eval seed v1", purpose, str(int(run_seed)), *(str(int(number)) for number in numbers)])
    return int.from_bytes(hashlib.sha256(text.encode("ascii")).digest()[:8], "big") >> 1


def sample_seed(run_seed: int, sample_id: int) -> int:
    """Return the 63-bit seed of one sample: a function of (run seed, sample id), never of rank, batch or order."""
    if sample_id < 0:
        raise ConfigError(f"Sample ids count 0, 1, 2, ...; found {sample_id}.")
    return derived_seed(run_seed, "sample", sample_id)
