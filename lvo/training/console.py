"""The terminal's side of a run: a progress bar, and signals that ask it to stop."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


@contextmanager
def progress(total: int, start: int, *, shown: bool) -> Iterator[Callable[[int, str], None]]:
    """Show a progress bar on a terminal; elsewhere nothing, the log has lines of its own."""
    console = Console(stderr=True)
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, disable=not (shown and console.is_terminal)) as bar:
        task = bar.add_task("", total=total, completed=start)
        yield lambda step, text: bar.update(task, completed=step, description=text)


@contextmanager
def stop_signals() -> Iterator[Callable[[], bool]]:
    """Turn SIGTERM and SIGINT into a flag; a second one acts as usual."""
    seen: list[int] = []
    former: dict[signal.Signals, Any] = {}

    def note(number: int, _frame: FrameType | None) -> None:
        seen.append(number)
        signal.signal(number, former[signal.Signals(number)])

    for number in (signal.SIGTERM, signal.SIGINT):
        former[number] = signal.signal(number, note)
    try:
        yield lambda: bool(seen)
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
