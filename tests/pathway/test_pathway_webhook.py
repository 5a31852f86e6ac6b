"""Delivery over real HTTP to a receiver that checks the signature and fails at first."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx2
import pytest
from standardwebhooks import Webhook as Verifier

from lvo.anatomy import Tier
from lvo.pathway import Psc, Webhook
from lvo.pathway.webhook import DeliveryFailed, Message, Policy, SecretMissing, deliver, message_for
from lvo.study import Alert, Reason, Status, StudyResult

SECRET = "whsec_bHZvLXRlc3Qtc2VjcmV0LWx2by10ZXN0"
FAST = Policy(attempts=5, give_up_after=10, first_wait=0.01, longest_wait=0.05, timeout=2)
ALERT = Alert(tier=Tier.NOT_ANALYSED, text="Read by eye now.", psc="p", csc=None)
RESULT = StudyResult(
    software_version="0",
    study_instance_uid="1.2.840.99999.1",
    created_at="2026-01-14T12:00:00+00:00",
    status=Status.NOT_ANALYSED,
    probability=None,
    reasons=(Reason(code="no-ct", message="file DOE_JANE.dcm"),),
)


class Receiver(ThreadingHTTPServer):
    def __init__(self, answers: list[int]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers = answers
        self.seen: list[dict] = []
        self.ids: list[str] = []

    @property
    def webhook(self) -> Webhook:
        return Webhook(url=f"http://127.0.0.1:{self.server_port}/hook", secret_env="TEST_HOOK_SECRET")


class Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.seen.append(Verifier(SECRET).verify(body, dict(self.headers)))
        self.server.ids.append(self.headers["webhook-id"])
        self.send_response(self.server.answers.pop(0))
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    monkeypatch.setenv("TEST_HOOK_SECRET", SECRET)
    server = Receiver([])
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def message(job: str = "job-1", alert: Alert = ALERT) -> Message:
    psc = Psc(id="p", name="P", route=("c",))
    return message_for(psc, job=job, result=RESULT, alert=alert, source="/lvo", result_url="/r")


def send(webhook: Webhook, policy: Policy = FAST) -> int:
    async def run() -> int:
        async with httpx2.AsyncClient() as client:
            return await deliver(client, webhook, message(), policy)

    return asyncio.run(run())


def test_retries_until_taken_with_one_id_and_a_valid_signature(receiver: Receiver) -> None:
    receiver.answers = [503, 429, 204]
    assert send(receiver.webhook) == 3
    assert len(receiver.seen) == 3 and len(set(receiver.ids)) == 1
    event = receiver.seen[-1]
    assert event["specversion"] == "1.0" and event["id"] == receiver.ids[0] and event["subject"] == "job-1"
    assert event["data"]["tier"] == "not-analysed" and event["data"]["reasons"] == ["no-ct"]


def test_a_refusal_is_final(receiver: Receiver) -> None:
    receiver.answers = [400, 204]
    with pytest.raises(DeliveryFailed, match="400"):
        send(receiver.webhook)
    assert len(receiver.seen) == 1


def test_gives_up_after_the_last_attempt(receiver: Receiver) -> None:
    receiver.answers = [500] * 9
    with pytest.raises(DeliveryFailed, match="500"):
        send(receiver.webhook)
    assert len(receiver.seen) == FAST.attempts


def test_nobody_listening_is_a_failed_delivery(receiver: Receiver) -> None:
    webhook = receiver.webhook
    receiver.server_close()
    with pytest.raises(DeliveryFailed, match="ConnectError"):
        send(webhook, Policy(attempts=2, first_wait=0.01, longest_wait=0.01))


@pytest.mark.parametrize("value", [None, "", "whsec_!"])
def test_without_a_secret_nothing_is_sent(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    monkeypatch.delenv("TEST_HOOK_SECRET")
    if value is not None:
        monkeypatch.setenv("TEST_HOOK_SECRET", value)
    with pytest.raises(SecretMissing, match="TEST_HOOK_SECRET"):
        send(receiver.webhook)
    assert not receiver.seen


def test_the_message_holds_no_identifier_of_study_or_patient() -> None:
    body = message().body
    assert "1.2.840" not in body and "DOE" not in body
    assert json.loads(body)["data"]["job"] == "job-1"


def test_the_id_changes_with_job_and_alert_only() -> None:
    changed = ALERT.model_copy(update={"tier": Tier.NONE})
    assert message().id == message().id
    assert len({message().id, message("job-2").id, message(alert=changed).id}) == 3
