"""ldm-eval: decide, with error bars, whether a diffusion model may be released."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("ldm-eval")
except PackageNotFoundError:  # imported from a source tree that was never installed
    __version__ = "0+unknown"

__all__ = ["__version__"]
