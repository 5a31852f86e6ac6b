"""By what accuracy is broken down: the truth's own columns, and what the benchmark's table ordered."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from lvo.anatomy import Segment
from lvo.errors import PathNotFound, TruthInvalid
from lvo.evaluation.cases import Case, Occlusion
from lvo.study import Role

LENGTH_BOUNDS_MM = (8.0, 15.0)
LENGTH_NAMES = ("< 8 mm", "8 to 15 mm", "≥ 15 mm")
"""Bins of clot length."""
LUMEN_BOUNDS_MM = (1.6, 2.0)
LUMEN_NAMES = ("< 1.6 mm", "1.6 to 2 mm", "≥ 2 mm")
"""Bins of the width of the artery where the clot begins."""
SCANNED_BOUNDS = (0.05, 0.95)
SCANNED_NAMES = ("hardly any", "some of it")
"""Bins of the share of a clot that lies in the scan; one that lies wholly in it is in none."""
NOISE_BOUNDS_HU = (10.0, 17.0)
NOISE_NAMES = ("low", "middle", "high")
"""Bins of noise where no table says what was ordered; the benchmark orders by the same."""
PHASES = ("early", "early-arterial", "peak", "peak-arterial", "late", "venous")
ORDER = {
    name: f"{place:02d}"
    for names in (list(Segment), LENGTH_NAMES, LUMEN_NAMES, SCANNED_NAMES, NOISE_NAMES, PHASES)
    for place, name in enumerate(names)
}
"""What sorts otherwise than by its name, and its place."""
SEGMENT_GROUPS: tuple[tuple[str, frozenset[Segment]], ...] = (
    ("any", frozenset(Segment)),
    (
        "ICA-C, ICA-I, ICA-T or M1",
        frozenset({Segment.ICA_CERVICAL, Segment.ICA_INTRACRANIAL, Segment.ICA_TERMINUS, Segment.M1}),
    ),
    (
        "ICA-I, ICA-T or M1",
        frozenset({Segment.ICA_INTRACRANIAL, Segment.ICA_TERMINUS, Segment.M1}),
    ),
    ("ICA-T or M1", frozenset({Segment.ICA_TERMINUS, Segment.M1})),
    *((segment.value, frozenset({segment})) for segment in Segment),
)
"""Rows of the first table: joined segments as trials join them, then each."""
ORDERED = "ordered "
"""Before the name of a column that comes from the benchmark's table."""
_SIDE = re.compile(r"\s(left|right|midline)\b.*$")
_HEAD = re.compile(r"\bhead (\S+?)(?: mirrored)?(?:;|$)")

Scope = Literal["occlusion", "study", "patent"]


@dataclass(frozen=True, slots=True)
class Stratum:
    """One way to break down the figures.

    Attributes
    ----------
    scope : ``occlusion`` splits the occluded alone, against all patent studies; ``study`` splits both;
        ``patent`` splits the patent alone, for their specificity.
    of : names of the parts in which a study (or one of its occlusions) stands; none where it is not known.
    """

    title: str
    names: tuple[str, ...]
    scope: Scope
    of: Callable[[Case, Occlusion | None], Iterable[tuple[str, ...]]]


def with_orders(cases: Iterable[Case], table: Path) -> tuple[Case, ...]:
    """Add what the benchmark's table ordered to the studies it names, each column as ``ordered <column>``.

    Raises
    ------
    PathNotFound
    TruthInvalid
        The table has no column ``study``.
    """
    if not table.is_file():
        raise PathNotFound(str(table))
    with table.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if "study" not in (reader.fieldnames or ()):
            raise TruthInvalid(f"{table} has no column study.")
        orders = {
            row["study"]: {f"{ORDERED}{k}": v for k, v in row.items() if v and k != "study"} for row in reader
        }
    return tuple(replace(c, about={**c.about, **orders.get(c.study, {})}) for c in cases)


def grade_name(occlusion: Occlusion) -> str:
    """Name of an occlusion's collateral grade."""
    return f"grade {occlusion.collateral or 'unknown'}"


def length_name(occlusion: Occlusion) -> str:
    """Name of the bin of a clot's length."""
    if occlusion.clot_length_mm is None:
        return "length unknown"
    return LENGTH_NAMES[sum(occlusion.clot_length_mm >= bound for bound in LENGTH_BOUNDS_MM)]


def _lumen(_: Case, occlusion: Occlusion | None) -> list[tuple[str, ...]]:
    if occlusion is None or occlusion.lumen_mm is None:
        return []
    return [(occlusion.segment.value, LUMEN_NAMES[sum(occlusion.lumen_mm >= b for b in LUMEN_BOUNDS_MM)])]


def _scanned(_: Case, occlusion: Occlusion | None) -> list[tuple[str, ...]]:
    hardly, whole = SCANNED_BOUNDS
    if occlusion is None or occlusion.clot_scanned is None or occlusion.clot_scanned >= whole:
        return []
    return [(occlusion.segment.value, SCANNED_NAMES[occlusion.clot_scanned >= hardly])]


def _of_occlusion(
    *parts: Callable[[Occlusion], str],
) -> Callable[[Case, Occlusion | None], list[tuple[str, ...]]]:
    return lambda _case, o: [] if o is None else [tuple(part(o) for part in parts)]


def _phase(case: Case, _: Occlusion | None) -> list[tuple[str, ...]]:
    found = case.about.get("phase", case.about.get(f"{ORDERED}phase"))
    return [(found,)] if found else []


def _bolus(case: Case, _: Occlusion | None) -> list[tuple[str, ...]]:
    found = case.result.bolus if case.result is not None else None
    return [(found.phase or "not told",)] if found is not None else []


def _noise(case: Case, _: Occlusion | None) -> list[tuple[str, ...]]:
    if name := case.about.get(f"{ORDERED}noise"):
        return [(name,)]
    hu = case.about.get("noise_hu")
    return [(NOISE_NAMES[sum(float(hu) >= bound for bound in NOISE_BOUNDS_HU)],)] if hu else []


def _thickness(case: Case, _: Occlusion | None) -> list[tuple[str, ...]]:
    found = case.about.get(f"{ORDERED}slice_mm", case.about.get("slice_mm"))
    return [(f"{float(found):.1f} mm",)] if found else []


def _ncct(case: Case, _: Occlusion | None) -> list[tuple[str, ...]]:
    """As ordered; else whether the software chose one."""
    ordered = case.about.get(f"{ORDERED}ncct")
    if ordered is None and case.result is not None and case.result.series:
        ordered = "yes" if any(s.role is Role.NCCT and s.chosen for s in case.result.series) else "no"
    return [("with" if ordered == "yes" else "without",)] if ordered else []


def _made_sure_of(column: str) -> Callable[[Case, Occlusion | None], list[tuple[str, ...]]]:
    def of(case: Case, _: Occlusion | None) -> list[tuple[str, ...]]:
        ordered = f"{ORDERED}{column}" in case.about
        other = any(key.startswith(ORDERED) for key in case.about)
        return [(case.about[f"{ORDERED}{column}"],)] if ordered else [("none",)] if other else []

    return of


def _drawn(column: str) -> Callable[[Case, Occlusion | None], list[tuple[str, ...]]]:
    """Kinds of what is listed, without side and degree; a study stands under each of its kinds."""

    def of(case: Case, _: Occlusion | None) -> list[tuple[str, ...]]:
        words = filter(None, case.about.get(column, "").split("; "))
        return [(name,) for name in sorted({_SIDE.sub("", word) for word in words})]

    return of


def head_name(case: Case) -> str | None:
    """File of the head that a composed patient has; None for a phantom's own."""
    found = _HEAD.search(case.about.get("variants", ""))
    return found.group(1) if found else None


def _head(case: Case, _: Occlusion | None) -> list[tuple[str, ...]]:
    return [(name,)] if (name := head_name(case)) else []


STRATA: tuple[Stratum, ...] = (
    Stratum(
        "By collateral grade (0 none to 3 good)", ("collateral",), "occlusion", _of_occlusion(grade_name)
    ),
    Stratum("By clot length", ("clot",), "occlusion", _of_occlusion(length_name)),
    Stratum("Segment, and lumen where the clot begins", ("segment", "lumen"), "occlusion", _lumen),
    Stratum(
        "Segment, of clots that the scan cuts or leaves out", ("segment", "scanned"), "occlusion", _scanned
    ),
    Stratum("By phase of the bolus", ("phase",), "study", _phase),
    Stratum("By the bolus as the software measured it", ("phase",), "study", _bolus),
    Stratum("By noise", ("noise",), "study", _noise),
    Stratum("By slice thickness", ("slices",), "study", _thickness),
    Stratum("By NCCT", ("NCCT",), "study", _ncct),
    Stratum("By the head that a patient was composed with", ("head",), "study", _head),
    Stratum("Patent studies by the mimic made sure of", ("mimic",), "patent", _made_sure_of("mimic")),
    Stratum("Patent studies by the variant made sure of", ("variant",), "patent", _made_sure_of("variant")),
    Stratum("Patent studies by every mimic drawn", ("mimic",), "patent", _drawn("mimics")),
    Stratum("Patent studies by every variant drawn", ("variant",), "patent", _drawn("variants")),
    Stratum(
        "Segment, collateral grade and clot length",
        ("segment", "collateral", "clot"),
        "occlusion",
        _of_occlusion(lambda o: o.segment.value, grade_name, length_name),
    ),
)
