"""ldm-eval: decide, with error bars, whether a diffusion model may be released.

>>> import ldm_eval
>>> done = ldm_eval.evaluate("demo", suite="quality", output="out")     # doctest: +SKIP
"""

from ldm_eval.evaluate import Evaluation, evaluate
from ldm_eval.version import installed_version

__all__ = ["Evaluation", "__version__", "evaluate"]


def __getattr__(name: str) -> str:
    """``__version__``, looked up when asked for."""
    if name != "__version__":
        raise AttributeError(f"module 'ldm_eval' has no attribute '{name}'")
    return installed_version()
