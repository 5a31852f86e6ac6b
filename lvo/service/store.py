"""Jobs, and where they are kept so that they outlive the process."""

from __future__ import annotations

import sqlite3
import threading
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field

Delivery = Literal["pending", "delivered", "failed"]


class JobState(StrEnum):
    """Where a job is. A failed job, too, has a result: not analysed, with the reason."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"

    @property
    def finished(self) -> bool:
        """Whether there is a result."""
        return self in (JobState.DONE, JobState.FAILED)


def now() -> str:
    """Return the time in UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


class Job(BaseModel):
    """One study on its way. Holds no patient data."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    psc: str = Field(description="Identifier of the referring primary stroke centre.")
    state: JobState = JobState.QUEUED
    files: int
    created_at: str = Field(default_factory=now)
    updated_at: str = Field(default_factory=now)
    attempts: int = 0
    failure: str | None = Field(default=None, description="Reason code of a failed job.")
    deliveries: dict[str, Delivery] = Field(default_factory=dict, description="Webhook by centre.")


class JobStore(Protocol):
    """What the service asks of a job store; safe to call from several threads."""

    def save(self, job: Job) -> None:
        """Write a job, durably, replacing the one with its id."""

    def get(self, job_id: str) -> Job | None:
        """Return the job, or None if there is none."""

    def open_jobs(self) -> list[Job]:
        """Return jobs that are not finished or have an alert to deliver, oldest first."""

    def ids(self) -> set[str]:
        """Return the id of every job."""

    def close(self) -> None:
        """Let go of the store."""


class SqliteStore:
    """A job store in one SQLite file.

    Parameters
    ----------
    path : Path
        Made if absent; its folder has to exist.
    """

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS jobs "
            "(id TEXT PRIMARY KEY, created_at TEXT NOT NULL, open INTEGER NOT NULL, record TEXT NOT NULL)"
        )

    def save(self, job: Job) -> None:
        """Write a job, durably, replacing the one with its id."""
        is_open = not job.state.finished or "pending" in job.deliveries.values()
        row = (job.id, job.created_at, int(is_open), job.model_dump_json())
        with self._lock:
            self._db.execute("INSERT OR REPLACE INTO jobs VALUES (?, ?, ?, ?)", row)

    def get(self, job_id: str) -> Job | None:
        """Return the job, or None if there is none."""
        rows = self._records("SELECT record FROM jobs WHERE id = ?", job_id)
        return rows[0] if rows else None

    def open_jobs(self) -> list[Job]:
        """Return jobs that are not finished or have an alert to deliver, oldest first."""
        return self._records("SELECT record FROM jobs WHERE open = 1 ORDER BY created_at")

    def ids(self) -> set[str]:
        """Return the id of every job."""
        with self._lock:
            return {row[0] for row in self._db.execute("SELECT id FROM jobs")}

    def close(self) -> None:
        """Let go of the store."""
        with self._lock:
            self._db.close()

    def _records(self, query: str, *values: str) -> list[Job]:
        with self._lock:
            rows = self._db.execute(query, values).fetchall()
        return [Job.model_validate_json(record) for (record,) in rows]
