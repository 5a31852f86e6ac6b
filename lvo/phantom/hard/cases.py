"""Hard DICOM CT: what scanners, archives and senders do to a series, each case with its truth beside it.

Every case is written from a formula (`head`), so what a reader returns can be held against it without
another reader. The tests read every case; a comparison with other software and a fuzzer start from them too.
"""

from __future__ import annotations

from lvo.phantom.hard import choice, enhanced, files, geometry, pixels, series
from lvo.phantom.hard.geometry import orientation_cases
from lvo.phantom.hard.recipe import HardCase, Truth

__all__ = ["HARD_CASES", "HardCase", "Truth", "orientation_cases"]

HARD_CASES: tuple[HardCase, ...] = (
    *geometry.CASES,
    *series.CASES,
    *enhanced.CASES,
    *choice.CASES,
    *pixels.CASES,
    *files.CASES,
    *orientation_cases(),
)
