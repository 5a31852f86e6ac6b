"""The HTTP service: studies in, located results and alerts out. Needs the ``serve`` extra."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lvo.service.api import create_app, run
    from lvo.service.settings import ServiceSettings, load_settings

__all__ = ["ServiceSettings", "create_app", "load_settings", "run"]


def __getattr__(name: str) -> Any:
    """Import on demand, so that the spawned scoring process does not load the web framework."""
    if name in ("create_app", "run"):
        from lvo.service import api

        return getattr(api, name)
    if name in ("ServiceSettings", "load_settings"):
        from lvo.service import settings

        return getattr(settings, name)
    raise AttributeError(f"module 'lvo.service' has no attribute {name!r}")
