"""Key images: pages a physician reads on a phone, each saying what it is and what it is not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from PIL import Image, ImageDraw

from lvo.report.artery_map import artery_map_panels
from lvo.report.brain_map import brain_map_panels
from lvo.report.panels import BACKGROUND, Panel, Plane, Rgb, draw_panel, font, ring, text, without_bulky_bone
from lvo.report.view import HeadView, Mark, Overlay
from lvo.report.words import CAUSE, bolus_line, brain_line, cause_line, place
from lvo.study import Finding, Status, StudyResult

PAGE_WIDTH = 1080
RESEARCH = "Research use only. Not a medical device."

# Blue, not green, for "not suspected": a picture must not reassure more than the software can.
_BANNER: dict[Status, Rgb] = {
    Status.SUSPECTED: (176, 28, 28),
    Status.NOT_SUSPECTED: (32, 62, 110),
    Status.NOT_ANALYSED: (150, 84, 0),
}
_TITLE: dict[Status, str] = {
    Status.SUSPECTED: "Occlusion suspected",
    Status.NOT_SUSPECTED: "No occlusion suspected",
    Status.NOT_ANALYSED: "NOT ANALYSED - read the study now",
}

# Crops and slabs in head-frame mm; the origin is the sella.
_ACROSS = (-76.0, 76.0)
_DEPTH = (-74.0, 100.0)
_HEIGHT = (-42.0, 100.0)
_AXIAL_MIP = 26.0
_AXIAL_MIP_CENTRE = 17.0
_CORONAL_MIP = 30.0
_CORONAL_MIP_CENTRE = -4.0
_THIN = 4.0
_BLUR_REACH = 8.0
_MARGIN = 20.0


def write_key_images(result: StudyResult, view: HeadView, out: Path) -> tuple[str, ...]:
    """Draw the pages of a result as PNG files.

    Parameters
    ----------
    result : StudyResult
        Its status and reasons stand in the banner of every page.
    view : HeadView
        The scan in the head frame, with marks in the order of the result's findings.
    out : Path
        An existing folder.

    Returns
    -------
    tuple of str
        File names, most telling first.
    """
    if result.status is Status.NOT_ANALYSED:
        pages = {"head.png": head_page(result, view)}
    else:
        pages = {
            "axial_mip.png": _mip_page(result, view, "axial"),
            "coronal_mip.png": _mip_page(result, view, "coronal"),
        }
        for number, mark in enumerate(view.marks):
            pages[f"finding_{number + 1}.png"] = finding_page(result, view, mark, number)
        if view.overlay is not None:
            pages["artery_map.png"] = _artery_map_page(result, view, view.overlay)
            pages["brain_map.png"] = _brain_map_page(result, view, view.overlay)
        pages["pose_check.png"] = head_page(result, view)
    for name, page in pages.items():
        page.save(out / name, compress_level=2)
    return tuple(pages)


def _mip_page(result: StudyResult, view: HeadView, plane: Literal["axial", "coronal"]) -> Image.Image:
    """One thick-slab MIP of both sides, through the likeliest finding or else the circle of Willis."""
    axis: Literal["y", "z"]
    if plane == "axial":
        axis, centre, thickness, down = "z", _AXIAL_MIP_CENTRE, _AXIAL_MIP, _DEPTH
    else:
        axis, centre, thickness, down = "y", _CORONAL_MIP_CENTRE, _CORONAL_MIP, _HEIGHT
    across = _ACROSS
    if view.marks:
        x, y, z = max(view.marks, key=lambda mark: mark.probability).position
        centre, low = (z, y) if plane == "axial" else (y, z)
        across, down = _reaching(across, x), _reaching(down, low)
    crop = (across, down)
    reach = thickness / 2 + _BLUR_REACH
    slim = without_bulky_bone(view.cut(axis, centre - reach, centre + reach))
    panel = draw_panel(
        slim, plane, centre=centre, thickness=thickness, width=PAGE_WIDTH, crop=crop, projection="maximum"
    )
    hidden = [mark.label for mark in view.marks if not ring(panel, mark)]
    notes = ["Maximum-intensity projection, thick bone turned down."]
    if hidden:
        notes.append(f"Not in this slab: {', '.join(hidden)}.")
    if result.bolus is not None:
        notes.append(bolus_line(result.bolus))
    return _page(result, [panel], notes)


def _artery_map_page(result: StudyResult, view: HeadView, overlay: Overlay) -> Image.Image:
    """What the detector took for arteries and for clot."""
    notes = ["What the detector saw. Blue outline: arteries, lit or not. Red: clot."]
    if result.bolus is not None:
        notes.append(bolus_line(result.bolus))
    return _page(result, artery_map_panels(view, overlay, PAGE_WIDTH // 2), notes)


def _brain_map_page(result: StudyResult, view: HeadView, overlay: Overlay) -> Image.Image:
    """Where the brain lacks contrast."""
    notes = ["Violet: brain darker than the other side, as beyond an occlusion, or in an old infarct."]
    notes += [f"{place(f).upper()}: {line}" for f in result.findings if (line := brain_line(f))]
    return _page(result, brain_map_panels(view, overlay.deficit, PAGE_WIDTH // 2), notes)


def finding_page(result: StudyResult, view: HeadView, mark: Mark, number: int) -> Image.Image:
    """Thin slices through one finding: axial above, coronal below, both sides in view."""
    x, y, z = mark.position
    depth = _reaching((_DEPTH[0], 46.0), y)
    height = _reaching((_HEIGHT[0], 62.0), z)
    across = _reaching((-70.0, 70.0), x)
    panels = [
        draw_panel(view, "axial", centre=z, thickness=_THIN, width=PAGE_WIDTH, crop=(across, depth)),
        draw_panel(view, "coronal", centre=y, thickness=_THIN, width=PAGE_WIDTH, crop=(across, height)),
    ]
    for panel in panels:
        ring(panel, mark)
    told = [line(f) for f in result.findings[number : number + 1] for line in (cause_line, brain_line)]
    return _page(result, panels, [f"Slices through {mark.label}.", *filter(None, told)])


def _reaching(span: tuple[float, float], at: float) -> tuple[float, float]:
    """A span of a picture, mm, that follows a finding outside it, so that the ring is never cut off."""
    return min(span[0], at - _MARGIN), max(span[1], at + _MARGIN)


def head_page(result: StudyResult, view: HeadView) -> Image.Image:
    """The head in its canonical frame, three planes: shows at a glance whether the pose is right."""
    half = PAGE_WIDTH // 2
    everywhere = (-1000.0, 1000.0)
    cuts: tuple[tuple[Plane, float], ...] = (
        ("axial", 0.0),
        ("axial", 30.0),
        ("coronal", 0.0),
        ("sagittal", 0.0),
    )
    panels = [
        draw_panel(view, plane, centre=at, thickness=_THIN, width=half, crop=(everywhere, everywhere))
        for plane, at in cuts
    ]
    for panel in panels:
        _cross(panel)
    return _page(
        result, panels, [f"The {view.modality} in the head frame; the cross is its origin at the sella."]
    )


def _cross(panel: Panel) -> None:
    """Thin lines through the origin: the midline must lie on one of them."""
    column, row = panel.pixel((0.0, 0.0, 0.0))
    draw = ImageDraw.Draw(panel.image)
    draw.line([(column, 0), (column, panel.image.height)], fill=(0, 170, 200), width=1)
    draw.line([(0, row), (panel.image.width, row)], fill=(0, 170, 200), width=1)


def _headline(result: StudyResult) -> str:
    """What was found, in one line; for a study without an answer the reasons."""
    if result.status is Status.NOT_ANALYSED:
        return " ".join(r.message for r in result.reasons if r.kind == "rejection")
    if result.findings:
        return ", ".join(_named(finding) for finding in result.findings)
    return f"Probability of an occlusion {result.probability:.0%}. Absence is not excluded; read the study."


def _named(finding: Finding) -> str:
    """A finding with its cause: ``M1 left 97 % (occlusion)``."""
    label = Mark(finding.segment, finding.side, finding.probability, finding.position_lps_mm).label
    return label if finding.cause is None else f"{label} ({CAUSE[finding.cause]})"


def _wrap(words: str, size: int, width: float) -> list[str]:
    """Break a sentence into lines that fit."""
    lines = [""]
    for word in words.split():
        longer = f"{lines[-1]} {word}".strip()
        if font(size).getlength(longer) <= width or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def _page(result: StudyResult, panels: Sequence[Panel], notes: Sequence[str]) -> Image.Image:
    """Banner, panels in rows, footer."""
    margin = 24
    headline = _wrap(_headline(result), 34, PAGE_WIDTH - 2 * margin)
    model = f", model {result.model.name} {result.model.version}" if result.model else ""
    origin = f"lvo {result.software_version}{model}. {result.created_at}"
    where = ["R and L are the patient's.", origin, f"Study {result.study_instance_uid or 'unknown'}"]
    told, footer = (
        [line for words in part for line in _wrap(words, size, PAGE_WIDTH - 2 * margin)]
        for part, size in ((notes, 30), (where, 24))
    )
    banner_height = 84 + 42 * len(headline) + 12
    footer_height = 58 + 38 * len(told) + 32 * len(footer)
    rows = _rows(panels)
    height = banner_height + sum(max(p.image.height for p in row) for row in rows) + footer_height

    page = Image.new("RGB", (PAGE_WIDTH, height), BACKGROUND)
    draw = ImageDraw.Draw(page)
    draw.rectangle((0, 0, PAGE_WIDTH, banner_height), fill=_BANNER[result.status])
    text(draw, (margin, 16), _TITLE[result.status], 52, anchor="la", rim=False, fill=(255, 255, 255))
    for number, line in enumerate(headline):
        text(draw, (margin, 84 + 42 * number), line, 34, anchor="la", rim=False, fill=(255, 255, 255))
    y = banner_height
    for row in rows:
        x = 0
        for panel in row:
            page.paste(panel.image, (x, y))
            x += panel.image.width
        y += max(p.image.height for p in row)
    text(draw, (margin, y + 12), RESEARCH, 32, anchor="la", rim=False, fill=(255, 214, 10))
    for line in told:  # larger than the rest: on a phone this is what is read
        text(draw, (margin, y + 54), line, 30, anchor="la", rim=False, fill=(235, 235, 235))
        y += 38
    for number, line in enumerate(footer):
        text(draw, (margin, y + 54 + 32 * number), line, 24, anchor="la", rim=False, fill=(190, 190, 190))
    return page


def _rows(panels: Sequence[Panel]) -> list[list[Panel]]:
    """Panels side by side as long as the page is wide enough."""
    rows: list[list[Panel]] = [[]]
    for panel in panels:
        if rows[-1] and sum(p.image.width for p in rows[-1]) + panel.image.width > PAGE_WIDTH:
            rows.append([])
        rows[-1].append(panel)
    return rows
