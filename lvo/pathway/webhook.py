"""Posting an alert: a CloudEvents envelope, a Standard Webhooks signature, retries with back-off.

What is posted holds no patient data: no name, no identifier of patient, study or image. The
receiver follows the link to the result with its own credentials.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx2
import structlog
from cloudevents.core.bindings.http import to_structured_event
from cloudevents.core.v1.event import CloudEvent
from pydantic import BaseModel, ConfigDict, Field
from standardwebhooks import Webhook as Signer
from standardwebhooks.webhooks import EmptyWebhookSecretError
from tenacity import (
    AsyncRetrying,
    retry_if_exception_type,
    stop_after_attempt,
    stop_after_delay,
    wait_random_exponential,
)

from lvo.errors import LvoError
from lvo.pathway.config import Centre, Webhook
from lvo.study import Alert, StudyResult

EVENT_TYPE = "lvo.alert.v1"
_RETRY_STATUS = frozenset({408, 425, 429})
_log = structlog.get_logger(__name__)


class SecretMissing(LvoError):
    """The signing secret of a webhook is missing or not a whsec_ value; set its environment variable."""

    code = "webhook-secret-missing"


class DeliveryFailed(LvoError):
    """The alert could not be delivered to the webhook."""

    code = "webhook-delivery-failed"


class _TryAgain(Exception):
    """The receiver may well accept the same message later."""


class Policy(BaseModel):
    """How long and how often delivery is tried. Times in seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    attempts: int = Field(default=12, ge=1)
    give_up_after: float = Field(default=600.0, gt=0)
    first_wait: float = Field(default=0.5, ge=0)
    longest_wait: float = Field(default=60.0, ge=0)
    timeout: float = Field(default=10.0, gt=0)


@dataclass(frozen=True, slots=True)
class Message:
    """One alert for one centre; its identifier is the same however often it is sent."""

    id: str
    content_type: str
    body: str


def message_for(
    centre: Centre, *, job: str, result: StudyResult, alert: Alert, source: str, result_url: str
) -> Message:
    """Wrap an alert for one centre as a CloudEvent in JSON structured mode.

    Parameters
    ----------
    job : str
        Identifier of the job, the event's subject.
    source : str
        URI of the service that speaks.
    result_url : str
        Where the receiver finds the full result.

    Returns
    -------
    Message
        Its id follows from the job, the centre and the content of the alert, so a repeat can be
        recognised and a changed alert is not mistaken for one.
    """
    data = {
        "job": job,
        "recipient": centre.id,
        "status": result.status.value,
        **alert.model_dump(mode="json"),
        "findings": [
            {"segment": f.segment.value, "side": f.side.value, "probability": round(f.probability, 4)}
            for f in result.findings
        ],
        "reasons": [r.code for r in result.reasons],
        "result_url": result_url,
        "intended_use": result.intended_use,
    }
    digest = hashlib.sha256("\n".join((job, centre.id, alert.model_dump_json())).encode())
    attributes: dict[str, Any] = {
        "id": f"msg_{digest.hexdigest()[:32]}",
        "source": source,
        "type": EVENT_TYPE,
        "subject": job,
        "time": datetime.fromisoformat(result.created_at),
        "datacontenttype": "application/json",
    }
    http = to_structured_event(CloudEvent(attributes, data))
    return Message(attributes["id"], http.headers["content-type"], http.body.decode("utf-8"))


def signer_for(webhook: Webhook) -> Signer:
    """The signer of a webhook, from the secret in the environment.

    Raises
    ------
    SecretMissing
        If the variable is unset, or is not base64 with or without the ``whsec_`` prefix.
    """
    try:
        return Signer(os.environ[webhook.secret_env])
    except (KeyError, ValueError, EmptyWebhookSecretError) as error:
        raise SecretMissing(webhook.secret_env) from error


async def deliver(client: httpx2.AsyncClient, webhook: Webhook, message: Message, policy: Policy) -> int:
    """Post a message until the receiver takes it.

    Connection faults, timeouts, 408, 425, 429 and 5xx are tried again with random exponential
    back-off; any other refusal is final. Every attempt is signed afresh, because receivers refuse
    signatures older than five minutes.

    Returns
    -------
    int
        The number of attempts it took.

    Raises
    ------
    SecretMissing
        Before anything is sent.
    DeliveryFailed
        If the receiver refused, or the policy's limits were reached.
    """
    signer = signer_for(webhook)
    retrying = AsyncRetrying(
        retry=retry_if_exception_type(_TryAgain),
        wait=wait_random_exponential(multiplier=policy.first_wait, max=policy.longest_wait),
        stop=stop_after_attempt(policy.attempts) | stop_after_delay(policy.give_up_after),
        reraise=True,
    )
    try:
        async for attempt in retrying:
            with attempt:
                await _post(client, webhook, signer, message, policy.timeout)
    except _TryAgain as error:
        raise DeliveryFailed(f"Last answer: {error}.") from error
    return int(retrying.statistics["attempt_number"])


async def _post(
    client: httpx2.AsyncClient, webhook: Webhook, signer: Signer, message: Message, timeout: float
) -> None:
    now = datetime.now(UTC)
    headers = {
        "content-type": message.content_type,
        "webhook-id": message.id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": signer.sign(message.id, now, message.body),
    }
    try:
        response = await client.post(
            str(webhook.url), content=message.body, headers=headers, timeout=timeout, follow_redirects=False
        )
    except httpx2.TransportError as error:
        _log.warning("webhook.attempt_failed", message=message.id, error=type(error).__name__)
        raise _TryAgain(type(error).__name__) from error
    if response.is_success:
        return
    _log.warning("webhook.attempt_failed", message=message.id, http_status=response.status_code)
    if response.status_code in _RETRY_STATUS or response.is_server_error:
        raise _TryAgain(f"HTTP {response.status_code}")
    raise DeliveryFailed(f"The receiver refused it with HTTP {response.status_code}.")
