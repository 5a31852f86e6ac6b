from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lvo.anatomy import Segment, Side
from lvo.report.artery_map import ARTERY, artery_map_panels
from lvo.report.brain_map import brain_map_panels
from lvo.report.key_images import write_key_images
from lvo.report.panels import MARK, Panel, draw_panel, ring, without_bulky_bone
from lvo.report.view import HeadView, Layer, Mark, Overlay
from lvo.study import Status, StudyResult

EVERYWHERE = ((-1000.0, 1000.0), (-1000.0, 1000.0))
MakeView = Callable[..., HeadView]
MakeResult = Callable[..., StudyResult]


def brightest(panel: Panel) -> tuple[float, float]:
    """(column, row) of the middle of the white area, away from labels: they are drawn at the edges."""
    grey = np.asarray(panel.image.convert("L")).astype(float)
    rows, columns = np.nonzero(grey >= 250)
    inner = (
        (rows > 0.15 * grey.shape[0])
        & (rows < 0.85 * grey.shape[0])
        & (columns > 0.12 * grey.shape[1])
        & (columns < 0.88 * grey.shape[1])
    )
    return float(columns[inner].mean()), float(rows[inner].mean())


@pytest.mark.parametrize(
    ("plane", "through", "position", "right", "down"),
    [
        ("axial", 20.0, (35.0, 0.0, 20.0), True, None),  # the patient's left is on the right of the picture
        ("axial", 20.0, (-35.0, 0.0, 20.0), False, None),
        ("axial", 20.0, (0.0, 50.0, 20.0), None, True),  # the back of the head is below
        ("coronal", 0.0, (35.0, 0.0, 20.0), True, None),
        ("coronal", 0.0, (0.0, 0.0, 70.0), None, False),  # the vertex is above
        ("sagittal", 0.0, (0.0, 50.0, 20.0), True, None),  # the face looks to the left
        ("sagittal", 0.0, (0.0, 0.0, -20.0), None, True),
    ],
)
def test_panels_follow_radiological_convention(
    make_view: MakeView,
    plane: str,
    through: float,
    position: tuple[float, float, float],
    right: bool | None,
    down: bool | None,
) -> None:
    view = make_view((position, 6.0, 900.0))
    panel = draw_panel(view, plane, centre=through, thickness=4.0, width=600, crop=EVERYWHERE)
    column, row = brightest(panel)
    if right is not None:
        assert (column > panel.image.width / 2) is right
    if down is not None:
        assert (row > panel.image.height / 2) is down


@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal"])
def test_a_point_in_millimetres_is_drawn_where_it_lies(make_view: MakeView, plane: str) -> None:
    position = (24.0, -12.0, 33.0)
    view = make_view((position, 5.0, 900.0))
    axis = {"axial": 2, "coronal": 1, "sagittal": 0}[plane]
    panel = draw_panel(view, plane, centre=position[axis], thickness=2.0, width=600, crop=EVERYWHERE)
    off_mm = np.subtract(brightest(panel), panel.pixel(position)) / panel.pixels_per_mm
    assert np.abs(off_mm).max() < 2.0  # one voxel


def test_a_mark_is_ringed_only_in_a_slab_that_holds_it(make_view: MakeView) -> None:
    mark = Mark(Segment.M1, Side.LEFT, 0.9, (20.0, 0.0, 17.0))
    view = make_view(marks=(mark,))
    near = draw_panel(view, "axial", centre=17.0, thickness=20.0, width=600, crop=EVERYWHERE)
    far = draw_panel(view, "axial", centre=60.0, thickness=20.0, width=600, crop=EVERYWHERE)
    assert ring(near, mark)
    assert not ring(far, mark)
    yellow = np.all(np.asarray(near.image) == MARK, axis=2)
    assert yellow.any()
    assert not np.all(np.asarray(far.image) == MARK, axis=2).any()
    assert np.nonzero(yellow)[1].mean() > near.image.width / 2


def test_bulky_bone_is_turned_down_and_arteries_are_kept(make_view: MakeView) -> None:
    artery, bone = (20.0, 0.0, 17.0), (-30.0, 20.0, 0.0)
    view = make_view((artery, 2.0, 400.0), (bone, 14.0, 1200.0))
    slim = without_bulky_bone(view)

    def at(v: HeadView, point: tuple[float, float, float]) -> float:
        index = np.round((np.asarray(point) - v.origin) / v.spacing).astype(int)[::-1]
        return float(v.array[tuple(index)])

    assert at(view, bone) == 1200.0
    assert at(slim, bone) < 100.0
    assert at(slim, artery) == at(view, artery) == 400.0


@pytest.mark.parametrize(
    ("status", "names"),
    [
        ("suspected", ("axial_mip.png", "coronal_mip.png", "finding_1.png", "pose_check.png")),
        ("not_suspected", ("axial_mip.png", "coronal_mip.png", "pose_check.png")),
        ("not_analysed", ("head.png",)),
    ],
)
def test_every_status_has_its_pages(
    make_view: MakeView, make_result: MakeResult, tmp_path: Path, status: str, names: tuple[str, ...]
) -> None:
    marks = (Mark(Segment.M1, Side.LEFT, 0.97, (20.0, -2.0, 17.0)),) if status == "suspected" else ()
    assert write_key_images(make_result(status), make_view(marks=marks), tmp_path) == names
    assert {path.name for path in tmp_path.iterdir()} == set(names)
    for name in names:
        with Image.open(tmp_path / name) as page:
            assert page.width == 1080
            red, green, blue = page.convert("RGB").getpixel((2, 2))
        # No page may look like an all-clear, and the three answers are told apart by colour.
        loudest = {"suspected": red, "not_suspected": blue, "not_analysed": red}[status]
        assert loudest == max(red, green, blue) > 1.5 * green
        assert (green > 60) is (status != "suspected")


def test_a_finding_far_from_the_usual_place_still_gets_its_ring(
    make_view: MakeView, make_result: MakeResult, tmp_path: Path
) -> None:
    low = Mark(Segment.ICA_CERVICAL, Side.RIGHT, 0.8, (-25.0, 10.0, -70.0))
    write_key_images(make_result("suspected"), make_view(marks=(low,)), tmp_path)
    with Image.open(tmp_path / "finding_1.png") as page:
        assert np.all(np.asarray(page.convert("RGB")) == MARK, axis=2).sum() > 500


@pytest.mark.parametrize("likelier", ["ICA-C", "M1"])
def test_overviews_go_through_the_likeliest_finding(
    make_view: MakeView, make_result: MakeResult, tmp_path: Path, likelier: str
) -> None:
    marks = tuple(
        Mark(segment, Side.LEFT, 0.9 if segment == likelier else 0.4, position)
        for segment, position in (
            (Segment.ICA_CERVICAL, (25.0, 18.0, -70.0)),
            (Segment.M1, (20.0, -12.0, 17.0)),
        )
    )
    write_key_images(make_result("suspected"), make_view(marks=marks), tmp_path)
    for name in ("axial_mip.png", "coronal_mip.png"):
        with Image.open(tmp_path / name) as page:
            assert np.all(np.asarray(page.convert("RGB")) == MARK, axis=2).sum() > 500


def test_status_colours_cover_every_status() -> None:
    from lvo.report.key_images import _BANNER, _TITLE

    assert set(_BANNER) == set(_TITLE) == set(Status)


DEFICIT_ORIGIN = (-68.0, -46.0, -52.0)


def overlay_of(artery: tuple[float, float, float], clot: tuple[float, float, float]) -> Overlay:
    """A ball of artery and one of clot, 6 mm in radius, on the detector's grid of 2 mm."""
    origin, spacing, shape = (-55.0, -49.0, -40.0), 2.0, (48, 56, 56)
    z, y, x = np.ogrid[: shape[0], : shape[1], : shape[2]]

    def ball(place: tuple[float, float, float]) -> np.ndarray:
        i, j, k = (np.array(place) - origin) / spacing
        return (((x - i) ** 2 + (y - j) ** 2 + (z - k) ** 2) * spacing**2 < 36).astype(np.float32)

    lack = np.zeros((16, 14, 18), np.float32)
    lack[10:12, 5, 14:16] = 0.6
    layers = (Layer(ball(place), origin, spacing) for place in (artery, clot))
    return Overlay(*layers, Layer(lack, DEFICIT_ORIGIN, 8.0))


def test_the_artery_map_lies_on_the_scan(make_view: MakeView) -> None:
    artery, clot = (30.0, 10.0, 20.0), (-28.0, -10.0, 10.0)
    for panel in artery_map_panels(make_view(), overlay_of(artery, clot), 540):
        pixels = np.asarray(panel.image).astype(int)
        outline = np.all(pixels == ARTERY, axis=2)
        red = pixels[..., 0] - pixels[..., 1:].max(axis=2) > 100
        for where, place in ((outline, artery), (red, clot)):
            found = np.argwhere(where).mean(axis=0)[::-1]
            assert np.abs(found - panel.pixel(place)).max() < 2.0 * panel.pixels_per_mm  # one voxel


def test_the_artery_map_reaches_down_to_a_finding_in_the_neck(make_view: MakeView) -> None:
    neck = (25.0, 30.0, -62.0)
    overlay = overlay_of((30, 10, 20), (28, -10, 10))
    for marks, shown in (((), False), ((Mark(Segment.ICA_CERVICAL, Side.LEFT, 0.8, neck),), True)):
        _, coronal = artery_map_panels(make_view(marks=marks), overlay, 540)
        assert coronal.holds(neck) is shown


def test_the_page_with_the_artery_map_comes_with_an_analysis(
    make_view: MakeView, make_result: MakeResult, tmp_path: Path
) -> None:
    marks = (Mark(Segment.M1, Side.LEFT, 0.97, (20.0, -2.0, 17.0)),)
    view = replace(make_view(marks=marks), overlay=overlay_of((30, 10, 20), (28, -10, 10)))
    names = write_key_images(make_result("suspected"), view, tmp_path)
    not_analysed = write_key_images(make_result("not_analysed"), view, tmp_path)
    for name in ("artery_map.png", "brain_map.png"):
        assert name in names and (tmp_path / name).is_file()
        assert name not in not_analysed


def test_dark_brain_is_tinted_where_it_lies(make_view: MakeView) -> None:
    dark = (DEFICIT_ORIGIN[0] + 14.5 * 8, DEFICIT_ORIGIN[1] + 5 * 8, DEFICIT_ORIGIN[2] + 10.5 * 8)
    panels = brain_map_panels(make_view(), overlay_of((30, 10, 20), (28, -10, 10)).deficit, 540)
    assert [panel.holds(dark) for panel in panels] == [False, False, True, False]
    for panel in panels:
        pixels = np.asarray(panel.image).astype(int)
        tinted = np.argwhere(pixels[..., 2] - pixels[..., 1] > 30)
        assert bool(len(tinted)) is panel.holds(dark)
        if len(tinted):
            assert np.abs(tinted.mean(axis=0)[::-1] - panel.pixel(dark)).max() < 4 * panel.pixels_per_mm
