"""Open decision support for large artery occlusion in CT angiography. Research use only.

>>> study = lvo.dicom.read_study(folder)                             # doctest: +SKIP
>>> analysis = lvo.analyse(study, lvo.detector.load_detector())      # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lvo._version import __version__

if TYPE_CHECKING:
    from lvo.pipeline import analyse

__all__ = ["__version__", "analyse"]


def __getattr__(name: str) -> Any:
    """Import the route only when it is asked for, so that ``import lvo`` stays instant."""
    if name == "analyse":
        from lvo.pipeline import analyse

        return analyse
    raise AttributeError(f"module 'lvo' has no attribute {name!r}")
