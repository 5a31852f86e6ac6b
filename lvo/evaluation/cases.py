"""What was true and what was answered, study by study."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from lvo.anatomy import Segment, Side
from lvo.errors import PathNotFound, TruthInvalid
from lvo.report.folder import RESULT_NAME
from lvo.study import Finding, Point, Status, StudyResult

REQUIRED = (
    "study", "status", "segment", "side", "clot_length_mm", "collateral",
    "position_x", "position_y", "position_z",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Occlusion:
    """A true occlusion.

    Attributes
    ----------
    position : centre of the clot, LPS mm; None where the truth does not say.
    lumen_mm : diameter of the artery where the clot begins; None where the truth does not say.
    clot_scanned : share of the clot that lies in the scan, 0 to 1; None where the truth does not say.
    """

    segment: Segment
    side: Side
    clot_length_mm: float | None
    collateral: str
    position: Point | None
    lumen_mm: float | None = None
    clot_scanned: float | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """One study: what is true, and the answer; ``result`` is None when there is none.

    Attributes
    ----------
    about : what else the truth says of the study, by column; strata are made from it.
    """

    study: str
    occlusions: tuple[Occlusion, ...]
    result: StudyResult | None
    about: Mapping[str, str] = field(default_factory=dict)

    @property
    def analysed(self) -> bool:
        """Whether there is an answer that says yes or no."""
        return self.result is not None and self.result.status is not Status.NOT_ANALYSED

    @property
    def suspected(self) -> bool:
        """Whether the answer is yes."""
        return self.result is not None and self.result.status is Status.SUSPECTED

    @property
    def probability(self) -> float:
        """Probability of any occlusion; only of an analysed study."""
        if self.result is None or self.result.probability is None:
            raise ValueError(f"{self.study} was not analysed")
        return self.result.probability

    def site(self, segment: Segment, sides: Sequence[Side]) -> float | None:
        """Highest probability at a segment's sites on these sides; None where the model has none."""
        found = self.result.segments if self.result is not None else ()
        return max((s.probability for s in found if s.segment is segment and s.side in sides), default=None)

    def sites(self) -> list[tuple[float, bool]]:
        """Probability of every site that the model answers, and whether it is occluded."""
        true = {(o.segment, o.side) for o in self.occlusions}
        found = self.result.segments if self.result is not None else ()
        return [(s.probability, (s.segment, s.side) in true) for s in found]

    def matched(self) -> dict[Occlusion, Finding]:
        """The finding that answers each occlusion, where there is one.

        As many findings as there are occlusions count, most probable first: with one occlusion it is
        the leading finding, however far off. Several are paired nearest first. An occlusion without a
        known position is paired last.
        """
        if self.result is None:
            return {}
        leading = sorted(self.result.findings, key=lambda f: -f.probability)[: len(self.occlusions)]
        pairs = sorted(
            ((distance(o, f), i, j) for i, o in enumerate(self.occlusions) for j, f in enumerate(leading))
        )
        match: dict[Occlusion, Finding] = {}
        used: set[int] = set()
        for _, i, j in pairs:
            if j not in used and self.occlusions[i] not in match:
                match[self.occlusions[i]] = leading[j]
                used.add(j)
        return match


def distance(occlusion: Occlusion, finding: Finding) -> float:
    """Distance of a finding from the centre of a clot, mm; infinite where the latter is not known."""
    if occlusion.position is None:
        return float("inf")
    return float(np.linalg.norm(np.subtract(occlusion.position, finding.position_lps_mm)))


def read_cases(truth_csv: Path, results: Path) -> tuple[Case, ...]:
    """Read the truth and the answer of every study it names.

    Parameters
    ----------
    truth_csv : one row per occlusion, one for a study without; columns ``study``, ``status``
        (``patent`` or ``occluded``), ``segment`` and ``side`` (empty when patent), ``clot_length_mm``,
        ``collateral``, ``position_x``, ``position_y``, ``position_z`` (LPS mm), and ``lumen_mm`` and
        ``clot_scanned`` if known.
        Others are kept as the case's ``about``. Or a folder whose studies with a result have a table each.
    results : folder with ``<study>/result.json`` or ``<study>.json``.

    Raises
    ------
    PathNotFound
        The table or the folder does not exist.
    TruthInvalid
        The table contradicts itself or a result cannot be read; the row or file is named.
    """
    for path in (truth_csv, results):
        if not path.exists():
            raise PathNotFound(str(path))
    rows = [row for table in _tables(truth_csv) for row in _rows(table)]
    studies: dict[str, list[Occlusion]] = {}
    patent: set[str] = set()
    about: dict[str, dict[str, str]] = {}
    for place, row in rows:
        occlusion = _occlusion(row, place)
        about[row["study"]] = {k: v for k, v in row.items() if k not in REQUIRED and v}
        found = studies.setdefault(row["study"], [])
        if row["study"] in patent or (occlusion is None and found):
            raise TruthInvalid(f"{place}: a patent study has one row and no occlusion.")
        if occlusion is None:
            patent.add(row["study"])
        elif occlusion in found:
            raise TruthInvalid(f"{place}: the same occlusion stands twice.")
        else:
            found.append(occlusion)
    return tuple(
        Case(name, tuple(found), _result(results, name), about[name]) for name, found in studies.items()
    )


def _tables(truth: Path) -> tuple[Path, ...]:
    """The table itself, or those of a folder's finished studies: one still being scored is no miss."""
    if truth.is_file():
        return (truth,)
    found = tuple(sorted(p for p in truth.glob("*/truth.csv") if (p.parent / RESULT_NAME).is_file()))
    if not found:
        raise PathNotFound(f"{truth}/*/truth.csv")
    return found


def _rows(table: Path) -> list[tuple[str, dict[str, str]]]:
    """Every row, and where it stands."""
    with table.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if missing := [c for c in REQUIRED if c not in (reader.fieldnames or ())]:
            raise TruthInvalid(f"{table} has no column {', '.join(missing)}.")
        return [(f"{table}, line {number}", row) for number, row in enumerate(reader, start=2)]


def _occlusion(row: dict[str, str], where: str) -> Occlusion | None:
    if row["status"] not in {"patent", "occluded"} or (row["status"] == "patent") == bool(row["segment"]):
        raise TruthInvalid(f"{where}: status {row['status']!r} with segment {row['segment']!r}.")
    if row["status"] == "patent":
        return None
    try:
        segment, side = Segment(row["segment"]), Side(row["side"])
        length = float(row["clot_length_mm"]) if row["clot_length_mm"] else None
        lumen, scanned = (float(row[k]) if row.get(k) else None for k in ("lumen_mm", "clot_scanned"))
        given = [row[f"position_{axis}"] for axis in "xyz"]
        position = (float(given[0]), float(given[1]), float(given[2])) if all(given) else None
    except ValueError as fault:
        raise TruthInvalid(f"{where}: {fault}.") from fault
    if side not in segment.sides:
        raise TruthInvalid(f"{where}: {segment} has no side {side}.")
    return Occlusion(segment, side, length, row["collateral"], position, lumen, scanned)


def _result(folder: Path, study: str) -> StudyResult | None:
    for path in (folder / study / RESULT_NAME, folder / f"{study}.json"):
        if path.is_file():
            try:
                return StudyResult.model_validate_json(path.read_bytes())
            except (ValidationError, ValueError) as fault:
                raise TruthInvalid(f"{path} is not a result: {fault}") from fault
    return None
