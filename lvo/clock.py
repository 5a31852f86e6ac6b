"""Where the time goes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(slots=True)
class Clock:
    """Seconds spent in each stage."""

    spent: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time of a block to a stage."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.spent[name] = self.spent.get(name, 0.0) + time.perf_counter() - start

    def rounded(self) -> dict[str, float]:
        """Stages in the order in which they ran, and their sum."""
        spent = {name: round(seconds, 3) for name, seconds in self.spent.items() if name != "total"}
        return {**spent, "total": round(sum(spent.values()), 3)}
