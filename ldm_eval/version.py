"""Which ldm-eval this is."""

from __future__ import annotations

__all__ = ["installed_version"]


def installed_version() -> str:
    """The version of the installed package; looked up when asked for, since reading metadata costs start-up time."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("ldm-eval")
    except PackageNotFoundError:  # imported from a source tree that was never installed
        return "0+unknown"
