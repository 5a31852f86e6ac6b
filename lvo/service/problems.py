"""Errors as problem+json (RFC 9457), each with a stable code."""

from __future__ import annotations

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

_log = structlog.get_logger(__name__)
MEDIA_TYPE = "application/problem+json"


class Problem(Exception):
    """A request that cannot be served: what is wrong, and what to do about it."""

    def __init__(
        self, status: int, code: str, title: str, detail: str, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(code)
        self.status, self.code, self.title, self.detail = status, code, title, detail
        self.headers = headers or {}

    def response(self, request: Request) -> JSONResponse:
        """Write the problem out."""
        body = {
            "type": f"urn:lvo:problem:{self.code}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "instance": request.url.path,
            "code": self.code,
        }
        return JSONResponse(body, self.status, self.headers, MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Answer every error of the app as a problem, without echoing what was sent."""

    @app.exception_handler(Problem)
    async def problem(request: Request, error: Problem) -> JSONResponse:
        return error.response(request)

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> JSONResponse:
        code = {404: "not-found", 405: "method-not-allowed"}.get(error.status_code, "http-error")
        title = str(error.detail)
        return Problem(
            error.status_code, code, title, "See /docs for what is offered.", dict(error.headers or {})
        ).response(request)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        where = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        return Problem(422, "request-invalid", "The request does not fit", where).response(request)

    @app.exception_handler(ClientDisconnect)
    async def gone(request: Request, error: ClientDisconnect) -> JSONResponse:
        return Problem(400, "upload-interrupted", "The sender hung up", "Send the study again.").response(
            request
        )

    @app.exception_handler(Exception)
    async def fault(request: Request, error: Exception) -> JSONResponse:
        # Only the kind of fault is logged: its message may quote what was sent.
        _log.error("request.fault", path=request.url.path, error=type(error).__name__)
        return Problem(
            500,
            "internal-fault",
            "A fault inside the service",
            "The request was not carried out. Read the study by eye and report the fault.",
        ).response(request)
