"""A service on a real port with a real worker process, and a webhook receiver."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvicorn
import yaml
from standardwebhooks import Webhook as Verifier

from lvo.pathway.webhook import Policy
from lvo.service import ServiceSettings, create_app
from tests.service.scorers import Factory, make_left_m1

SECRET = "whsec_bHZvLXRlc3Qtc2VjcmV0LWx2by10ZXN0"


class Receiver(ThreadingHTTPServer):
    """Takes alerts; refuses the first ones, and verifies every signature."""

    def __init__(self, refuse_first: int) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.refuse = refuse_first
        self.attempts = 0
        self.events: list[dict[str, Any]] = []


class Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        event = Verifier(SECRET).verify(
            self.rfile.read(int(self.headers["content-length"])), dict(self.headers)
        )
        self.server.attempts += 1
        refused = self.server.attempts <= self.server.refuse
        if not refused:
            self.server.events.append(event)
        self.send_response(503 if refused else 204)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    server = Receiver(refuse_first=2)
    os.environ["TEST_SERVICE_HOOK"] = SECRET
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()
    del os.environ["TEST_SERVICE_HOOK"]


Settings = Callable[..., ServiceSettings]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory, receiver: Receiver) -> Settings:
    def make(work: Path | None = None, **changes: Any) -> ServiceSettings:
        work = work or tmp_path_factory.mktemp("work")
        network = work / "network.yaml"
        hook = {"url": f"http://127.0.0.1:{receiver.server_port}/", "secret_env": "TEST_SERVICE_HOOK"}
        network.write_text(
            yaml.safe_dump(
                {
                    "name": "test",
                    "psc": [
                        {"id": "east", "name": "East", "route": ["hub"], "webhook": hook, "api_keys": ["k1"]},
                        {"id": "west", "name": "West", "route": ["hub"], "api_keys": ["k2"]},
                    ],
                    "csc": [{"id": "hub", "name": "Hub", "hours": "24/7"}],
                }
            )
        )
        values = {
            "work_dir": work,
            "network": network,
            "max_upload": 200_000,
            "max_unpacked": 400_000,
            "max_files": 20,
            "disk_reserve": 0,
            "score_timeout": 2.5,
            "load_timeout": 60,
            "delivery": Policy(first_wait=0.01, longest_wait=0.05, give_up_after=10),
        }
        return ServiceSettings(**{**values, **changes})

    return make


@contextmanager
def serving(settings: ServiceSettings, make_scorer: Factory = make_left_m1) -> Iterator[httpx2.Client]:
    server = uvicorn.Server(
        uvicorn.Config(create_app(settings, make_scorer=make_scorer), port=0, log_config=None)
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until(lambda: server.started)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()


def until(condition: Callable[[], Any], seconds: float = 30) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError("waited in vain")


def send(client: httpx2.Client, *contents: bytes, psc: str = "east", **more: Any) -> httpx2.Response:
    files = [("files", (f"DOE_JANE_{i}.dcm", content)) for i, content in enumerate(contents)]
    return client.post("/v1/studies", params={"psc": psc}, files=files, **more)


def finished(client: httpx2.Client, response: httpx2.Response) -> dict[str, Any]:
    assert response.status_code == 202, response.text
    where = response.headers["location"]
    return until(lambda: (job := client.get(where).json())["state"] in ("done", "failed") and job)


@pytest.fixture(scope="module")
def client(settings: Settings) -> Iterator[httpx2.Client]:
    """One service for the tests that leave it as they found it."""
    with serving(settings()) as client:
        yield client
