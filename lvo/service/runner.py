"""Carries jobs from queued to answered and told. Every job ends in a result and an alert."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import time
from datetime import UTC, datetime
from pathlib import Path

import httpx2
import structlog

import lvo
from lvo.errors import InternalFault, LvoError
from lvo.pathway import Network, decide_alert, recipients
from lvo.pathway.webhook import DeliveryFailed, SecretMissing, deliver, message_for
from lvo.service.metrics import Metrics
from lvo.service.settings import ServiceSettings
from lvo.service.store import Delivery, Job, JobState, JobStore, now
from lvo.service.worker import ScoringFailed, ScoringWorker
from lvo.study import Reason, Status, StudyResult

_log = structlog.get_logger(__name__)
_WATCH_EVERY = 2.0
_RELOAD_EVERY = 30.0
"""Seconds between looks at the worker, and between attempts to load a model that would not load."""


def not_analysed(reason: LvoError) -> StudyResult:
    """Return the result of a study that a fault kept from being analysed."""
    return StudyResult(
        software_version=lvo.__version__,
        study_instance_uid=None,
        created_at=now(),
        status=Status.NOT_ANALYSED,
        probability=None,
        reasons=(Reason(code=reason.code, message=reason.message),),
    )


class Runner:
    """One queue, one worker, and as many deliveries at a time as there are alerts to deliver."""

    def __init__(
        self,
        settings: ServiceSettings,
        network: Network,
        store: JobStore,
        worker: ScoringWorker,
        metrics: Metrics,
    ) -> None:
        self.settings, self.network, self.store = settings, network, store
        self.worker, self.metrics = worker, metrics
        self._studies = settings.work_dir.absolute() / "studies"
        self._queue: asyncio.Queue[str] = asyncio.Queue()
        self._waiting: set[str] = set()
        self._worker_lock = asyncio.Lock()
        self._loops: list[asyncio.Task[None]] = []
        self._deliveries: set[asyncio.Task[None]] = set()
        self._client = httpx2.AsyncClient()

    # ------------------------------------------------------------------ life

    async def start(self) -> None:
        """Take up what an earlier run left, and begin."""
        self._studies.mkdir(parents=True, exist_ok=True, mode=0o700)
        known = self.store.ids()
        for folder in self._studies.iterdir():
            if folder.name not in known:  # an upload that was cut off: nobody was promised anything
                await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        for job in self.store.open_jobs():
            if job.state.finished:
                self._redeliver(job)
            else:
                self.submit(self._update(job, state=JobState.QUEUED))
        self._loops = [asyncio.create_task(self._watch()), asyncio.create_task(self._work())]

    async def stop(self) -> None:
        """Stop at once; a running job goes back to the queue of the next start."""
        tasks = [*self._deliveries, *self._loops]
        for task in tasks:
            task.cancel()
        await asyncio.to_thread(self.worker.stop)
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._client.aclose()

    @property
    def alive(self) -> bool:
        """Whether the queue is being worked on."""
        return bool(self._loops) and not any(loop.done() for loop in self._loops)

    @property
    def full(self) -> bool:
        """Whether no further study should be taken."""
        return len(self._waiting) >= self.settings.max_queue

    def folder(self, job_id: str) -> Path:
        """Return the folder of a job: ``input`` and ``out``."""
        return self._studies / job_id

    def submit(self, job: Job) -> None:
        """Queue a job whose files are on disk and which is in the store."""
        self._waiting.add(job.id)
        self.metrics.waiting.set(len(self._waiting))
        self._queue.put_nowait(job.id)

    # ------------------------------------------------------------------ scoring

    async def _watch(self) -> None:
        """Load the model at once, and again whenever its process is found dead between studies."""
        while True:
            pause = _RELOAD_EVERY
            try:
                async with self._worker_lock:
                    await asyncio.to_thread(self.worker.start)
                pause = _WATCH_EVERY
            except ScoringFailed as failure:
                _log.error("worker.not_loaded", code=failure.reason.code)
            except Exception as error:
                _log.error("worker.not_loaded", error=type(error).__name__)
            await asyncio.sleep(pause)

    async def _work(self) -> None:
        while True:
            job_id = await self._queue.get()
            try:
                await self._run(job_id)
            except Exception as error:  # the queue must go on, whatever one job did
                _log.error("job.fault", job=job_id, error=type(error).__name__)
            finally:
                self._waiting.discard(job_id)
                self.metrics.waiting.set(len(self._waiting))

    async def _run(self, job_id: str) -> None:
        job = self.store.get(job_id)
        if job is None or job.state.finished:
            return
        begun = time.perf_counter()
        if job.attempts >= self.settings.max_attempts:
            await self._answer(job, not_analysed(InternalFault()), InternalFault.code)
            return
        job = self._update(job, state=JobState.RUNNING, attempts=job.attempts + 1)
        folder = self.folder(job_id)
        failure: str | None = None
        try:
            async with self._worker_lock:
                result = await asyncio.to_thread(self.worker.score, folder / "input", folder / "out")
        except ScoringFailed as failed:
            failure, result = failed.reason.code, not_analysed(failed.reason)
        except asyncio.CancelledError:
            # An orderly stop is not the job's fault.
            self._update(job, state=JobState.QUEUED, attempts=job.attempts - 1)
            raise
        except Exception as error:
            _log.error("job.fault", job=job_id, error=type(error).__name__)
            failure, result = InternalFault.code, not_analysed(InternalFault())
        self.metrics.seconds.observe(time.perf_counter() - begun)
        await self._answer(job, result, failure)

    async def _answer(self, job: Job, result: StudyResult, failure: str | None) -> None:
        """Decide the alert, keep the result, and tell. A full disk does not keep the alert back."""
        alert = decide_alert(result, self.network, psc=job.psc, at=datetime.now(UTC))
        result = result.model_copy(update={"alert": alert})
        told = {c.id: "pending" for c in recipients(alert, self.network) if c.webhook}
        state = JobState.FAILED if failure else JobState.DONE
        try:
            await asyncio.to_thread(self._keep, job.id, result)
            job = self._update(job, state=state, failure=failure, deliveries=told)
        except Exception as error:
            _log.error("job.result_not_kept", job=job.id, error=type(error).__name__)
            job = job.model_copy(
                update={"state": JobState.FAILED, "failure": InternalFault.code, "deliveries": told}
            )
            with contextlib.suppress(Exception):
                self.store.save(job)
        self.metrics.studies.labels(result.status.value, alert.tier.value).inc()
        _log.info(
            "job.answered", job=job.id, status=result.status.value, tier=alert.tier.value, failure=failure
        )
        self._deliver(job, result)

    def _keep(self, job_id: str, result: StudyResult) -> None:
        folder = self.folder(job_id)
        out = folder / "out"
        out.mkdir(parents=True, exist_ok=True)
        draft = out / "result.json.part"
        with draft.open("w", encoding="utf-8") as file:
            file.write(result.model_dump_json(indent=2))
            file.flush()
            os.fsync(file.fileno())
        draft.replace(out / "result.json")
        if not self.settings.keep_inputs:
            shutil.rmtree(folder / "input", ignore_errors=True)

    def result(self, job_id: str) -> StudyResult:
        """Read a kept result.

        Raises
        ------
        OSError, ValueError
            If it is not there or not whole.
        """
        path = self.folder(job_id) / "out" / "result.json"
        return StudyResult.model_validate_json(path.read_text(encoding="utf-8"))

    # ------------------------------------------------------------------ telling

    def _redeliver(self, job: Job) -> None:
        try:
            self._deliver(job, self.result(job.id))
        except (OSError, ValueError) as error:
            _log.error("job.result_lost", job=job.id, error=type(error).__name__)

    def _deliver(self, job: Job, result: StudyResult) -> None:
        for centre_id, state in job.deliveries.items():
            if state == "pending":
                task = asyncio.create_task(self._deliver_one(job.id, centre_id, result))
                self._deliveries.add(task)
                task.add_done_callback(self._deliveries.discard)

    async def _deliver_one(self, job_id: str, centre_id: str, result: StudyResult) -> None:
        outcome: Delivery = "failed"
        try:
            centre = self.network.find_psc(centre_id) or self.network.find_csc(centre_id)
            if centre is not None and centre.webhook is not None and result.alert is not None:
                base = str(self.settings.public_url or "").rstrip("/")
                message = message_for(
                    centre,
                    job=job_id,
                    result=result,
                    alert=result.alert,
                    source=base or "/lvo",
                    result_url=f"{base}/v1/studies/{job_id}/result",
                )
                tries = await deliver(self._client, centre.webhook, message, self.settings.delivery)
                outcome = "delivered"
                _log.info("alert.delivered", job=job_id, centre=centre_id, attempts=tries)
        except (DeliveryFailed, SecretMissing) as error:
            _log.error("alert.not_delivered", job=job_id, centre=centre_id, code=error.code)
        except Exception as error:
            _log.error("alert.not_delivered", job=job_id, centre=centre_id, error=type(error).__name__)
        self.metrics.deliveries.labels(outcome).inc()
        job = self.store.get(job_id)
        if job is not None:
            self._update(job, deliveries={**job.deliveries, centre_id: outcome})

    def _update(self, job: Job, **changes: object) -> Job:
        changed = job.model_copy(update={**changes, "updated_at": now()})
        self.store.save(changed)
        return changed
