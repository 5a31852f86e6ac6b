"""Whether the service lives, is ready, and how it has been doing."""

from __future__ import annotations

import shutil
import sqlite3

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from lvo.pathway import Network
from lvo.pathway.webhook import SecretMissing, signer_for
from lvo.service.runner import Runner


def install(app: FastAPI) -> None:
    """Add ``/livez``, ``/readyz`` and ``/metrics``."""

    @app.get("/livez")
    async def livez() -> dict[str, str]:
        """Say that the process answers."""
        return {"status": "ok"}

    @app.get("/readyz", responses={503: {"description": "Not ready; `checks` says what is wrong."}})
    def readyz(request: Request) -> JSONResponse:
        """Say whether a study sent now would be scored and told."""
        runner: Runner = request.app.state.runner
        checks = {
            "model": runner.worker.ready,
            "queue": runner.alive and not runner.full,
            "disk": disk_ok(runner),
            "store": _store_ok(runner),
            "webhook_secrets": not webhook_faults(runner.network),
        }
        ready = all(checks.values())
        return JSONResponse(
            {"status": "ok" if ready else "not ready", "checks": checks}, 200 if ready else 503
        )

    @app.get("/metrics", response_class=Response)
    def metrics(request: Request) -> Response:
        """Return counts and times for Prometheus."""
        return Response(generate_latest(request.app.state.metrics.registry), media_type=CONTENT_TYPE_LATEST)


def disk_ok(runner: Runner, more: int = 0) -> bool:
    """Whether the reserve stays free when so many more bytes arrive."""
    return shutil.disk_usage(runner.settings.work_dir).free - more >= runner.settings.disk_reserve


def _store_ok(runner: Runner) -> bool:
    try:
        runner.store.get("")
    except sqlite3.Error:
        return False
    return True


def webhook_faults(network: Network) -> list[str]:
    """Name the environment variables of webhook secrets that are missing or malformed."""
    faults = []
    for centre in (*network.psc, *network.csc):
        if centre.webhook is not None:
            try:
                signer_for(centre.webhook)
            except SecretMissing:
                faults.append(centre.webhook.secret_env)
    return faults
