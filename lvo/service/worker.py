"""The one process that owns the model. It is spawned, never forked: CUDA does not survive a fork."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import structlog

from lvo.errors import BundleInvalid, DeviceUnavailable, InternalFault, LvoError
from lvo.service.logs import configure_logging, describe
from lvo.study import StudyResult

Scorer = Callable[[Path, Path], StudyResult]
"""Scores a folder of DICOM files and leaves result and pictures in another."""
MakeScorer = Callable[[Path | None, str], Scorer]
"""Loads the model (a bundle's folder, or None for the released one; a device) and proves it right."""

_log = structlog.get_logger(__name__)
_GRACE = 5.0
_LOAD_FAULTS: dict[str, type[LvoError]] = {kind.code: kind for kind in (BundleInvalid, DeviceUnavailable)}


class ScoringFailed(Exception):
    """The study was not scored; `reason` says why in the words of the result."""

    def __init__(self, reason: LvoError) -> None:
        super().__init__(reason.code)
        self.reason = reason


def pipeline_scorer(model: Path | None, device: str) -> Scorer:
    """Load the detector, check it against its parity cases, and score with the pipeline.

    Raises
    ------
    BundleInvalid
        If the bundle is damaged or gives other answers here than where it was made.
    """
    from lvo.detector import load_detector
    from lvo.pipeline import score_folder

    detector = load_detector(model, device)
    detector.check_parity()
    return partial(score_folder, detector=detector)


class ScoringWorker:
    """A handle on the process. One thread at a time may score; `stop` may come from another.

    Parameters
    ----------
    make_scorer
        Runs in the process, so it has to be importable by name.
    load_timeout, score_timeout
        Seconds after which the process is taken for dead and ended.
    """

    def __init__(
        self,
        make_scorer: MakeScorer,
        model: Path | None,
        device: str,
        *,
        load_timeout: float,
        score_timeout: float,
    ) -> None:
        self._start_args = (make_scorer, model, device)
        self._load_timeout, self._score_timeout = load_timeout, score_timeout
        self._process: multiprocessing.process.BaseProcess | None = None
        self._pipe: Connection | None = None
        self._ready = False

    @property
    def ready(self) -> bool:
        """Whether the process is alive with its model loaded and proved."""
        process = self._process
        return self._ready and process is not None and process.is_alive()

    def start(self) -> None:
        """Start the process and wait until its model is loaded; nothing if it already is.

        Raises
        ------
        ScoringFailed
            If it cannot be loaded.
        """
        if self.ready:
            return
        self.stop()
        context = multiprocessing.get_context("spawn")
        self._pipe, far_end = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(far_end, *self._start_args), name="lvo-scoring", daemon=True
        )
        self._process.start()
        far_end.close()  # so that the death of the process reads as end of file here
        self._receive(self._load_timeout)
        self._ready = True
        _log.info("worker.ready")

    def score(self, folder: Path, out: Path) -> StudyResult:
        """Score a study in the process, starting it if need be.

        Raises
        ------
        ScoringFailed
            If the process died, hung or raised; it is started anew for the next study.
        """
        self.start()
        pipe = self._pipe
        try:
            if pipe is None:
                raise BrokenPipeError
            pipe.send((folder, out))
        except OSError as error:
            self.stop()
            raise ScoringFailed(InternalFault()) from error
        answer = self._receive(self._score_timeout)
        try:
            return StudyResult.model_validate_json(answer)
        except ValueError as error:
            raise ScoringFailed(InternalFault()) from error

    def stop(self) -> None:
        """End the process, whatever it is doing."""
        process, pipe = self._process, self._pipe
        self._process, self._pipe, self._ready = None, None, False
        if process is not None:
            process.terminate()
            process.join(_GRACE)
            if process.is_alive():
                process.kill()
                process.join()
        if pipe is not None:
            pipe.close()

    def _receive(self, timeout: float) -> str:
        pipe = self._pipe
        try:
            if pipe is None or not pipe.poll(timeout):
                raise TimeoutError
            kind, text = pipe.recv()
        except (OSError, EOFError) as error:
            _log.error("worker.lost", error=type(error).__name__)
            self.stop()
            raise ScoringFailed(InternalFault()) from error
        if kind == "ok":
            return str(text)
        if kind == "unloaded":
            self.stop()
        raise ScoringFailed(_LOAD_FAULTS.get(text, InternalFault)())


def _serve(pipe: Connection, make_scorer: MakeScorer, model: Path | None, device: str) -> None:
    """Load the model, then score one study after another until the other end closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the service to answer
    configure_logging()
    with contextlib.suppress(EOFError, OSError):
        try:
            scorer = make_scorer(model, device)
        except Exception as error:
            _report(error)
            pipe.send(("unloaded", getattr(error, "code", InternalFault.code)))
            return
        pipe.send(("ok", ""))
        while True:
            folder, out = pipe.recv()
            try:
                answer = ("ok", scorer(folder, out).model_dump_json())
            except Exception as error:
                _report(error)
                answer = ("fault", InternalFault.code)
            pipe.send(answer)


def _report(error: Exception) -> None:
    # Type and place only: a message may quote a header or a file name, and with it the patient.
    _log.error("worker.fault", **describe(error))
