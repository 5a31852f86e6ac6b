"""Pictures of what went wrong: every miss, false alarm and wrong side, truth and answer marked."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from html import escape
from typing import Literal

import numpy as np
from PIL import Image, ImageDraw

from lvo.anatomy import Side
from lvo.detector import Detection
from lvo.evaluation.boxes import Box
from lvo.evaluation.cases import Case
from lvo.evaluation.figures import Member
from lvo.evaluation.strata import ORDERED
from lvo.imaging.resample import HEAD_BOX, points_to_head
from lvo.report.panels import Panel, Plane, draw_panel, text
from lvo.report.view import HeadView
from lvo.study import Point

Kind = Literal["missed", "false alarm", "wrong side"]
PLANES: tuple[Plane, ...] = ("coronal", "axial", "sagittal")
TRUE, CLAIMED = (90, 230, 120), (255, 214, 10)
_SLAB_MM, _WIDTH, _MARGIN, _LINE = 24.0, 380, 12, 20
_SHOWN = ("clot_hu", "kind", "fill", "phase", "artery_hu", "noise_hu", "slice_mm", "motion")


@dataclass(frozen=True, slots=True)
class Place:
    """A point to ring, head-frame (x, y, z) mm, and what stands beside it."""

    label: str
    position: Point
    true: bool


@dataclass(frozen=True, slots=True)
class Failure:
    """A wrong answer.

    Attributes
    ----------
    places : true clots first, most probable findings next.
    """

    case: Case
    kind: Kind
    places: tuple[Place, ...]

    @property
    def file(self) -> str:
        """Name of its picture."""
        return f"{self.kind.replace(' ', '-')}_{self.case.study}.png"


def failures(cases: Iterable[Case]) -> tuple[Failure, ...]:
    """Every analysed study that was answered wrongly: misses, then false alarms, then wrong sides."""
    found = [Failure(c, kind, _places(c)) for c in cases if (kind := _kind(c)) is not None]
    order: tuple[Kind, ...] = ("missed", "false alarm", "wrong side")
    return tuple(sorted(found, key=lambda f: (order.index(f.kind), f.case.study)))


def _kind(case: Case) -> Kind | None:
    if not case.analysed:
        return None
    if bool(case.occlusions) != case.suspected:
        return "missed" if case.occlusions else "false alarm"
    right = Member(case, case.occlusions).all_right(lambda o, f: o.side is f.side)
    return None if right else "wrong side"


def _places(case: Case) -> tuple[Place, ...]:
    assert case.result is not None and case.result.pose is not None  # it was analysed
    pose, found = case.result.pose, []
    for o in case.occlusions:
        if o.position is not None:
            x, y, z = (float(v) for v in points_to_head(pose, [o.position])[0])
            found.append(Place(f"true {o.segment.value} {_short(o.side)}", (x, y, z), true=True))
    for f in sorted(case.result.findings, key=lambda f: -f.probability):
        x, y, z = (float(v) for v in points_to_head(pose, [f.position_lps_mm])[0])
        label = f"{f.segment.value} {_short(f.side)} {f.probability:.0%}"
        found.append(Place(label, (x, y, z), true=False))
    return tuple(found)


def _short(side: Side) -> str:
    return "" if side is Side.MIDLINE else side.value


def caption(failure: Failure) -> tuple[str, ...]:
    """Lines on what is true, what was answered, and in what kind of study."""
    case = failure.case
    assert case.result is not None
    truth = [
        f"{o.segment.value} {_short(o.side)}".strip()
        + f", clot {o.clot_length_mm} mm, collateral grade {o.collateral or '?'}"
        for o in case.occlusions
    ]
    sites = sorted(case.result.segments, key=lambda s: -s.probability)[:3]
    causes = [f.cause for f in case.result.findings if f.cause is not None]
    likeliest = "; ".join(f"{s.segment.value} {_short(s.side)} {s.probability:.3f}" for s in sites)
    strata = [f"{k} {v}" for k, v in case.about.items() if k in _SHOWN]
    ordered = [f"{k.removeprefix(ORDERED)} {v}" for k, v in case.about.items() if k.startswith(ORDERED)]
    return (
        f"{case.study}: {failure.kind}",
        f"Truth: {'; '.join(truth) or 'patent'}",
        f"Answer: {case.result.status.value}, any {case.probability:.4f}; likeliest {likeliest}"
        + (f"; looks like {', '.join(causes)}" if causes else ""),
        f"Drawn: {', '.join(strata) or 'unknown'}. Ordered: {', '.join(ordered) or 'nothing'}",
        f"Variants: {case.about.get('variants', 'unknown')}",
        f"Mimics: {case.about.get('mimics', 'unknown')}",
    )


def picture(failure: Failure, box: Box, detection: Detection | None = None) -> Image.Image:
    """Slabs of the CTA through the true clots and the first claims; beside each, the network's maps.

    Parameters
    ----------
    detection : of the model; None leaves its maps out. They are drawn on the same slabs: arteries grey,
        clot in an artery red.
    """
    view = HeadView(box.cta, HEAD_BOX.origin, HEAD_BOX.spacing, "CTA")
    shown = [p for p in failure.places if p.true] + [p for p in failure.places if not p.true][:1]
    shown = shown or [_likeliest(detection)]
    rows = []
    for place in shown:
        panels = [_slab(view, plane, place) for plane in PLANES]
        if detection is not None:
            panels += [_map(detection, plane, place) for plane in PLANES]
        for panel in panels:
            for mark in failure.places:
                _mark(panel, mark)
        rows.append([panel.image for panel in panels])
    return _sheet(rows, caption(failure))


def _sheet(rows: list[list[Image.Image]], lines: tuple[str, ...]) -> Image.Image:
    """The caption, and under it the rows of panels."""
    heights = [max(p.height for p in row) for row in rows]
    width = max(_MARGIN + sum(p.width + _MARGIN for p in row) for row in rows)
    wrapped = [part for line in lines for part in _wrap(line, (width - 2 * _MARGIN) // 8)]
    top = _MARGIN + _LINE * len(wrapped) + _MARGIN
    sheet = Image.new("RGB", (width, top + sum(h + _MARGIN for h in heights)))
    draw = ImageDraw.Draw(sheet)
    for n, line in enumerate(wrapped):
        text(draw, (_MARGIN, _MARGIN + n * _LINE), line, 15, anchor="la", rim=False)
    for row, height in zip(rows, heights, strict=True):
        for n, panel in enumerate(row):
            sheet.paste(panel, (_MARGIN + n * (_WIDTH + _MARGIN), top))
        top += height + _MARGIN
    return sheet


def _likeliest(detection: Detection | None) -> Place:
    """Where to look when neither truth nor answer says: the peak of the clot map, or mid-box."""
    grid = HEAD_BOX if detection is None else detection.grid
    index = np.array(grid.shape) / 2
    if detection is not None:
        index = np.array(np.unravel_index(int(detection.heatmap.argmax()), grid.shape), dtype=np.float64)
    x, y, z = (float(v) for v in (grid.affine @ [*index, 1])[:3])
    return Place("", (x, y, z), true=False)


def _slab(view: HeadView, plane: Plane, place: Place) -> Panel:
    """A slab through a place, cut to the box; a place outside it is looked for at its edge."""
    low = np.array(HEAD_BOX.origin)
    high = low + HEAD_BOX.spacing * (np.array(HEAD_BOX.shape[::-1]) - 1)
    through = {"axial": 2, "coronal": 1, "sagittal": 0}[plane]
    centre = float(np.clip(place.position[through], low[through], high[through]))
    across, down = {"axial": (0, 1), "coronal": (0, 2), "sagittal": (1, 2)}[plane]
    return draw_panel(
        view,
        plane,
        centre=centre,
        thickness=_SLAB_MM,
        width=_WIDTH,
        crop=((low[across], high[across]), (low[down], high[down])),
        projection="maximum",
    )


def _mark(panel: Panel, place: Place) -> None:
    """A ring where the slab holds the place; a small cross where it lies before or behind, or outside."""
    if not place.label:
        return
    draw = ImageDraw.Draw(panel.image)
    column, row = panel.pixel(place.position)
    column = float(np.clip(column, 5, panel.image.width - 6))
    row = float(np.clip(row, 5, panel.image.height - 6))
    colour = TRUE if place.true else CLAIMED
    if not panel.holds(place.position):
        draw.line((column - 5, row - 5, column + 5, row + 5), fill=colour, width=2)
        draw.line((column - 5, row + 5, column + 5, row - 5), fill=colour, width=2)
        return
    r = 6 * panel.pixels_per_mm
    draw.ellipse((column - r, row - r, column + r, row + r), outline=colour, width=2)
    # Truth above its ring and claim below: they may lie on one another.
    y, anchor = (
        (max(row - r - 2, 16), "mb") if place.true else (min(row + r + 2, panel.image.height - 16), "mt")
    )
    x = float(np.clip(column, 60, panel.image.width - 60))
    text(draw, (x, y), place.label, 14, anchor=anchor.replace("b", "d").replace("t", "a"), fill=colour)


def _map(detection: Detection, plane: Plane, place: Place) -> Panel:
    """The network's arteries in grey and its clot in red, on the same slab."""
    grid = detection.grid
    # draw_panel windows a MIP from -20 to 520 HU.
    clot, artery, empty = (
        _slab(HeadView(values * 540.0 - 20.0, grid.origin, grid.spacing, "CTA"), plane, place)
        for values in (detection.heatmap, detection.arteries, np.zeros(grid.shape, np.float32))
    )
    red, grey, words = (np.asarray(p.image)[..., 0].astype(np.float32) for p in (clot, artery, empty))
    red, grey = np.where(words > 0, 0, red), np.where(words > 0, words, grey * 0.6)
    rest = grey * (1 - red / 255)
    image = Image.fromarray(np.stack([np.maximum(grey, red), rest, rest], 2).astype(np.uint8))
    return replace(artery, image=image)


def _wrap(line: str, length: int) -> list[str]:
    words, lines = line.split(" "), [""]
    for word in words:
        if len(lines[-1]) + len(word) + 1 > length:
            lines.append("   ")
        lines[-1] = f"{lines[-1]} {word}" if lines[-1].strip() else lines[-1] + word
    return lines


def index_page(found: Iterable[Failure], title: str) -> str:
    """A page of all pictures with their captions."""
    items = []
    for f in found:
        words = "<br>".join(escape(line) for line in caption(f))
        link = f'<a href="{f.file}"><img src="{f.file}" alt=""></a>'
        items.append(f"<figure>{link}<figcaption>{words}</figcaption></figure>")
    style = (
        "body{font:14px sans-serif;background:#111;color:#eee}main{display:grid;gap:16px;"
        "grid-template-columns:repeat(auto-fill,minmax(460px,1fr))}figure{margin:0}img{width:100%}a{color:#9cf}"
    )
    head = f'<!doctype html><meta charset="utf-8"><title>{escape(title)}</title><style>{style}</style>'
    legend = (
        "Green: the true clot. Yellow: what was claimed. A cross lies outside the slab. "
        "Research use only; synthetic patients unless said otherwise."
    )
    body = "\n".join(items)
    return f"{head}\n<h1>{escape(title)}</h1>\n<p>{legend}</p>\n<main>\n{body}\n</main>\n"
