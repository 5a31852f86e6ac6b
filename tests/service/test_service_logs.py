"""Logs are JSON lines, and no message of an exception or a warning gets into them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
TALKATIVE = """
import logging, multiprocessing, warnings
from pathlib import Path
import structlog
from lvo.service.logs import configure_logging
from lvo.service.worker import ScoringFailed, ScoringWorker
from tests.service.scorers import make_left_m1

if __name__ == "__main__":
    configure_logging()
    try:
        raise ValueError("DOE^JANE")
    except ValueError:
        logging.getLogger("uvicorn.error").exception("Exception in ASGI application")
        structlog.get_logger().error("ours", exc_info=True)
    warnings.warn("Invalid value for VR DA: DOE^JANE")
    logging.getLogger("pydicom").error("DOE^JANE")
    folder = Path("DOE^JANE")
    folder.mkdir()
    (folder / "f").write_bytes(b"raise")
    worker = ScoringWorker(make_left_m1, None, "cpu", load_timeout=60, score_timeout=60)
    try:
        worker.score(folder, Path("out"))
    except ScoringFailed as failed:
        structlog.get_logger().error("scoring", code=failed.reason.code)
    worker.stop()
"""


def test_logs_hold_codes_and_places_but_no_messages(tmp_path: Path) -> None:
    script = tmp_path / "talkative.py"
    script.write_text(TALKATIVE)
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    events = [json.loads(line) for line in done.stderr.splitlines()]
    assert "DOE" not in done.stderr + done.stdout
    named = {event["event"]: event for event in events}
    assert named["Exception in ASGI application"]["error"] == "ValueError"
    assert "talkative.py:" in named["ours"]["where"]
    assert named["worker.fault"]["error"] == "RuntimeError"
    assert named["scoring"]["code"] == "internal-fault"
