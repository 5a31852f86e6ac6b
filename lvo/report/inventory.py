"""An inventory of a study as text for the terminal."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from lvo.dicom.ingest import Inventory, InventoryStack
from lvo.report.text import REASON_STYLE
from lvo.study import Reason


def render_inventory(inventory: Inventory) -> RenderableType:
    """Every stack with its role and reasons, then what concerns the study as a whole."""
    parts: list[RenderableType] = []
    for stack in inventory.stacks:
        parts += (_head(stack), Padding(Text(stack.series.why, style="dim"), (0, 0, 0, 6)))
        parts += (
            Padding(_line(reason), (0, 0, 0, 6))
            for reason in stack.series.reasons
            if reason.message not in stack.series.why
        )
    parts += map(_line, inventory.reasons)
    counts = f"{inventory.files} files, {inventory.not_dicom} not DICOM, {inventory.unreadable} unreadable"
    return Group(*parts, Text(counts, style="dim"))


def _head(stack: InventoryStack) -> Text:
    series = stack.series
    number = "-" if series.series_number is None else str(series.series_number)
    role = series.role.value.replace("_", " ") + (f" {series.phase}/{series.phases}" * (series.phases > 1))
    facts = [f"{series.instances} x {series.rows or '?'} x {series.columns or '?'}"]
    facts += [f"{series.slice_spacing_mm:.2f} mm"] if series.slice_spacing_mm else []
    facts += [series.kernel] if series.kernel else []
    facts += [f"“{series.description}”"] if series.description else []
    line = Text(f"{number:>4}  ", style="bold")
    line.append(role, style="bold green" if series.chosen else "bold")
    line.append("  " + ", ".join(facts), style="")
    return line.append(f"  -> {stack.file}" if stack.file else "", style="green")


def _line(reason: Reason) -> Text:
    return Text(f"{reason.message} [{reason.code}]", style=REASON_STYLE[reason.kind])
