"""The plugin ``phantoms``: models whose every number is known, behind the same hook as any other backend."""

from __future__ import annotations

from ldm_eval.api import Backend, BackendSpec
from ldm_eval.hooks import hookimpl


@hookimpl
def ldm_eval_backends() -> list[BackendSpec]:
    """The backend ``phantom``."""
    return [
        BackendSpec(
            name="phantom",
            summary="models whose every number is known: phantom:gaussian, mixture, memoriser, copier, captioned",
            load=_load,
        )
    ]


def _load() -> Backend:
    from ldm_eval.testing.phantom_models import PhantomBackend

    return PhantomBackend()
