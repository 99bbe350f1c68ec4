"""The hook contract and the catalogue that discovers plugins one by one."""

from ldm_eval.hooks.specs import hookimpl, hookspec

__all__ = ["hookimpl", "hookspec"]
