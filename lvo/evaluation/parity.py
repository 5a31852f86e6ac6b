"""Whether two ways of running a model give the same answers, on as many studies as there are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lvo.detector import Detection, Detector
from lvo.evaluation.boxes import Box
from lvo.study import Record


class Parity(Record):
    """How one backend's answers differ from the reference's.

    Attributes
    ----------
    study_difference, site_difference : largest difference of a probability.
    decisions : studies that one suspects and the other does not; it must be none.
    findings : studies whose lists of findings name other segments or sides.
    position_difference_mm : largest distance between two findings of one place.
    """

    backend: str
    studies: int
    study_difference: float = 0.0
    site_difference: float = 0.0
    position_difference_mm: float = 0.0
    decisions: int = 0
    findings: int = 0
    differing: tuple[str, ...] = ()

    def add(self, study: str, reference: Detection, other: Detection) -> Parity:
        """With one more study."""
        sites = [abs(p - q) for (*_, p), (*_, q) in zip(reference.segments, other.segments, strict=True)]
        places = [{(f.segment, f.side): f.position for f in d.findings} for d in (reference, other)]
        moved = [
            sum((a - b) ** 2 for a, b in zip(places[0][k], places[1][k], strict=True)) ** 0.5
            for k in places[0].keys() & places[1].keys()
        ]
        decided, listed = reference.suspected != other.suspected, places[0].keys() != places[1].keys()
        return Parity(
            backend=self.backend,
            studies=self.studies + 1,
            study_difference=max(
                self.study_difference,
                abs(reference.probability - other.probability),
                abs(reference.thrombectomy - other.thrombectomy),
            ),
            site_difference=max(self.site_difference, *sites),
            position_difference_mm=max([self.position_difference_mm, *moved]),
            decisions=self.decisions + decided,
            findings=self.findings + listed,
            differing=(*self.differing, study) if decided or listed else self.differing,
        )


@dataclass(frozen=True, slots=True)
class Compared:
    """The reference, and what was held against it."""

    reference: str
    rows: tuple[Parity, ...]


def compare_backends(
    reference: Detector, others: Sequence[Detector], boxes: Iterable[tuple[str, Box]]
) -> Compared:
    """Answer every study by all of them.

    Parameters
    ----------
    boxes : name and box of each study.
    """
    rows = [Parity(backend=d.backend, studies=0) for d in others]
    for name, box in boxes:
        expected = reference.detect(box.cta, box.ncct)
        rows = [
            row.add(name, expected, d.detect(box.cta, box.ncct)) for row, d in zip(rows, others, strict=True)
        ]
    return Compared(reference.backend, tuple(rows))
