"""The web application: routes, who may call them, and what they answer."""

from __future__ import annotations

import asyncio
import shutil
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import structlog
import uvicorn
from fastapi import Depends, FastAPI, Query, Request, Security
from fastapi.responses import FileResponse, Response
from fastapi.security import APIKeyHeader

import lvo
from lvo.pathway import Network, load_network
from lvo.service import health, problems
from lvo.service.logs import configure_logging
from lvo.service.metrics import Metrics
from lvo.service.problems import Problem
from lvo.service.runner import Runner
from lvo.service.settings import ServiceSettings
from lvo.service.store import Job, SqliteStore
from lvo.service.upload import receive, too_large
from lvo.service.worker import MakeScorer, ScoringWorker, pipeline_scorer
from lvo.study import INTENDED_USE, StudyResult

_log = structlog.get_logger(__name__)
_UPLOAD_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "files": {"type": "array", "items": {"type": "string", "format": "binary"}}
                    },
                }
            },
            "application/zip": {"schema": {"type": "string", "format": "binary"}},
            "application/dicom": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}
_PROBLEM: dict[int | str, dict[str, Any]] = {
    "default": {"description": "Problem", "content": {problems.MEDIA_TYPE: {}}}
}


def create_app(settings: ServiceSettings, *, make_scorer: MakeScorer = pipeline_scorer) -> FastAPI:
    """Build the service.

    Parameters
    ----------
    make_scorer
        Loads what scores a study, in the worker's own process; importable by name.

    Raises
    ------
    ConfigInvalid, PathNotFound
        If the pathway configuration does not fit; a service must not start without one.
    """
    network = load_network(settings.network)
    settings.work_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    metrics = Metrics()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        store = SqliteStore(settings.work_dir / "jobs.sqlite")
        worker = ScoringWorker(
            make_scorer,
            settings.model,
            settings.device,
            load_timeout=settings.load_timeout,
            score_timeout=settings.score_timeout,
        )
        runner = Runner(settings, network, store, worker, metrics)
        app.state.runner = runner
        if not settings.api_keys:
            _log.warning("service.open", advice="no API keys are set: let only a trusted gateway reach it")
        for fault in health.webhook_faults(network):
            _log.error("webhook.secret_missing", variable=fault)
        await runner.start()
        try:
            yield
        finally:
            await runner.stop()
            store.close()

    app = FastAPI(title="lvo", version=lvo.__version__, description=INTENDED_USE, lifespan=lifespan)
    app.state.settings, app.state.network, app.state.metrics = settings, network, metrics
    problems.install(app)
    _studies(app)
    health.install(app)
    return app


def run(settings: ServiceSettings) -> None:
    """Serve until told to stop."""
    configure_logging()
    app = create_app(settings)
    # No access log: the job's own log lines say what happened, and addresses stay out of the logs.
    uvicorn.run(app, host=settings.host, port=settings.port, log_config=None, access_log=False)


# --------------------------------------------------------------------------- who is calling


def _caller(
    request: Request, key: Annotated[str | None, Security(APIKeyHeader(name="X-API-Key", auto_error=False))]
) -> str | None:
    """Return the centre that the caller's key belongs to, or None where no keys are used."""
    settings: ServiceSettings = request.app.state.settings
    if not settings.api_keys:
        return None
    name = settings.key_name(key) if key else None
    psc = request.app.state.network.psc_of_api_key(name) if name else None
    if psc is None:
        raise Problem(401, "key-unknown", "No valid API key", "Send the centre's key as X-API-Key.")
    return str(psc.id)


Caller = Annotated[str | None, Depends(_caller)]


def _sender(network: Network, caller: str | None, named: str | None) -> str:
    """Return the centre that a study comes from, as the key or the request says."""
    psc = named or caller
    if psc is None:
        raise Problem(
            422, "psc-missing", "The referring centre is not named", "Add ?psc= and its identifier."
        )
    if network.find_psc(psc) is None:
        raise Problem(
            422,
            "psc-unknown",
            "Unknown referring centre",
            "Use an identifier from the pathway configuration.",
        )
    if caller is not None and psc != caller:
        raise Problem(403, "psc-forbidden", "The API key is another centre's", "Use this centre's own key.")
    return psc


def _job(request: Request, caller: str | None, job_id: str) -> Job:
    runner: Runner = request.app.state.runner
    job = runner.store.get(job_id)
    if job is None or caller not in (None, job.psc):
        raise Problem(404, "study-unknown", "No such study", "Check the address given with the 202 answer.")
    return job


def _result(request: Request, job: Job) -> StudyResult:
    if not job.state.finished:
        raise Problem(
            409,
            "result-pending",
            "There is no result yet",
            f"The study is {job.state}; ask again.",
            {"Retry-After": "1"},
        )
    runner: Runner = request.app.state.runner
    try:
        return runner.result(job.id)
    except (OSError, ValueError) as error:
        raise Problem(
            500, "result-lost", "The result cannot be read", "Read the study by eye now and report the fault."
        ) from error


# --------------------------------------------------------------------------- routes


def _studies(app: FastAPI) -> None:
    @app.post(
        "/v1/studies", status_code=202, response_model=Job, responses=_PROBLEM, openapi_extra=_UPLOAD_BODY
    )
    async def send_study(
        request: Request,
        response: Response,
        caller: Caller,
        psc: Annotated[str | None, Query(description="Identifier of the referring centre.")] = None,
    ) -> Job:
        """Send one study: its DICOM files as multipart, or one zip. Answers once it is safely on disk."""
        runner: Runner = request.app.state.runner
        sender = _sender(runner.network, caller, psc)
        _check_room(request, runner)
        job_id = uuid.uuid4().hex
        folder = runner.folder(job_id)
        try:
            (folder / "input").mkdir(parents=True, mode=0o700)
            files = await receive(
                request.stream(),
                request.headers.get("content-type", ""),
                folder / "input",
                max_bytes=runner.settings.max_upload,
                max_files=runner.settings.max_files,
                max_unpacked=runner.settings.max_unpacked,
            )
            job = Job(id=job_id, psc=sender, files=files)
            runner.store.save(job)
        except BaseException:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
            raise
        runner.submit(job)
        _log.info("study.received", job=job_id, psc=sender, files=files)
        response.headers["Location"] = f"/v1/studies/{job_id}"
        return job

    @app.get("/v1/studies/{job_id}", response_model=Job, responses=_PROBLEM)
    def job_state(request: Request, caller: Caller, job_id: str) -> Job:
        """Say where a study is: queued, running, done or failed. A failed one has a result, too."""
        return _job(request, caller, job_id)

    @app.get("/v1/studies/{job_id}/result", response_model=StudyResult, responses=_PROBLEM)
    def study_result(request: Request, caller: Caller, job_id: str) -> StudyResult:
        """Return the result with its alert."""
        return _result(request, _job(request, caller, job_id))

    @app.get("/v1/studies/{job_id}/images/{name}", response_class=FileResponse, responses=_PROBLEM)
    def key_image(request: Request, caller: Caller, job_id: str, name: str) -> FileResponse:
        """Return a key image that the result names."""
        job = _job(request, caller, job_id)
        path = request.app.state.runner.folder(job_id) / "out" / name
        # Only names that the result itself lists: nothing else in the folder is reachable.
        if name not in _result(request, job).key_images or not path.is_file():
            raise Problem(404, "image-unknown", "No such image", "Use a name from the result's key_images.")
        return FileResponse(path, media_type="image/png", headers={"Cache-Control": "private, no-store"})


def _check_room(request: Request, runner: Runner) -> None:
    declared = request.headers.get("content-length", "")
    length = int(declared) if declared.isdecimal() else 0
    if length > runner.settings.max_upload:
        raise too_large(runner.settings.max_upload)
    if runner.full:
        raise Problem(
            503, "queue-full", "Too many studies are waiting", "Send it again shortly.", {"Retry-After": "10"}
        )
    if not health.disk_ok(runner, length):
        raise Problem(
            507, "disk-full", "The disk is full", "Tell the service's keeper; read the study by eye now."
        )
