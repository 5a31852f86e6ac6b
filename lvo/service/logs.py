"""JSON logs without patient data: codes, identifiers of jobs, kinds and places of faults."""

from __future__ import annotations

import logging
import sys
import traceback
from pathlib import Path

import structlog
from structlog.typing import EventDict


def describe(error: BaseException) -> dict[str, str]:
    """Return the type of an exception and where it was raised, without its message.

    A message may quote a header or a file name, and with it the patient.
    """
    frames = traceback.extract_tb(error.__traceback__)[-3:]
    places = [f"{Path(frame.filename).name}:{frame.lineno}" for frame in reversed(frames)]
    return {"error": type(error).__name__, "where": " < ".join(places)}


def _without_messages(_logger: object, _method: str, event: EventDict) -> EventDict:
    info = event.pop("exc_info", None)
    error = sys.exc_info()[1] if info is True else info[1] if isinstance(info, tuple) else info
    if isinstance(error, BaseException):
        event.update(describe(error))
    return event


def configure_logging(level: int = logging.INFO) -> None:
    """Send the logs of this process, the web server's among them, to standard error as JSON lines."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _without_messages,
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        # Looked up at every line: whoever embeds this may have replaced or closed the stream since.
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    logging.basicConfig(handlers=[handler], level=level, force=True)
    # These quote URLs, headers or data elements; pydicom warns with the value that it finds wrong.
    logging.captureWarnings(True)
    for name in ("httpx2", "httpcore2", "pydicom", "py.warnings", "python_multipart"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
