"""Hard DICOM CT: what scanners, archives and senders do to a series, each case with its truth beside it.

Every case is written from a formula (`hard_head`), so what a reader returns can be held against it without
another reader. The tests read every case; a comparison with other software and a fuzzer start from them too.
"""

from __future__ import annotations

from lvo.phantom import hard_choice, hard_enhanced, hard_files, hard_geometry, hard_pixels, hard_series
from lvo.phantom.hard_geometry import orientation_cases
from lvo.phantom.hard_recipe import HardCase, Truth

__all__ = ["HARD_CASES", "HardCase", "Truth", "orientation_cases"]

HARD_CASES: tuple[HardCase, ...] = (
    *hard_geometry.CASES,
    *hard_series.CASES,
    *hard_enhanced.CASES,
    *hard_choice.CASES,
    *hard_pixels.CASES,
    *hard_files.CASES,
    *orientation_cases(),
)
