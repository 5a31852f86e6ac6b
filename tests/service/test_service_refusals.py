"""What the service refuses, with which code; and its health, metrics and settings."""

from __future__ import annotations

import io
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from lvo.errors import ConfigInvalid, PathNotFound
from lvo.service import load_settings
from lvo.service.archive import is_zip, unpack
from lvo.service.problems import Problem
from tests.service.conftest import Settings, finished, send, serving, until

EXAMPLE = Path(__file__).parents[2] / "configs" / "service" / "example.yaml"


def zipped(*entries: tuple[str | zipfile.ZipInfo, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return packed.getvalue()


def link(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system = 3
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


def leftovers(client: httpx2.Client, config_dir: Path) -> list[str]:
    return [p.name for p in (config_dir / "studies").iterdir()]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (zipped(("../../evil", b"x")), 422, "archive-unsafe"),
        (zipped(("/etc/evil", b"x")), 422, "archive-unsafe"),
        (zipped(("C:\\evil", b"x")), 422, "archive-unsafe"),
        (zipped(("a\\..\\..\\evil", b"x")), 422, "archive-unsafe"),
        (zipped((link("a"), b"/etc/passwd")), 422, "archive-unsafe"),
        (zipped(("bomb", bytes(500_000))), 413, "archive-too-large"),
        (zipped(*((str(i), b"x") for i in range(21))), 413, "too-many-files"),
        (zipped(("a", b"x" * 100))[:-30], 422, "archive-damaged"),
        (
            zipped(("a", b"hello"), ("b", b"x")).replace(b"a" + b"\xcbH", b"a" + b"\xcbI", 1),
            422,
            "archive-damaged",
        ),
        (zipped(), 400, "no-files"),
        (b"", 400, "no-files"),
        (b"x" * 200_001, 413, "upload-too-large"),
    ],
)
def test_bad_bodies(client: httpx2.Client, body: bytes, status: int, code: str) -> None:
    answer = client.post("/v1/studies?psc=east", content=body, headers={"content-type": "application/zip"})
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert set(answer.json()) >= {"type", "title", "status", "detail", "instance"}


def test_an_upload_of_undeclared_length_is_counted_and_leaves_nothing(settings: Settings) -> None:
    config = settings()

    def endless() -> Iterator[bytes]:
        for _ in range(40):
            yield b"x" * 10_000

    with serving(config) as client:
        answer = client.post(
            "/v1/studies?psc=east", content=endless(), headers={"content-type": "application/dicom"}
        )
        assert (answer.status_code, answer.json()["code"]) == (413, "upload-too-large")
        assert list((config.work_dir / "studies").iterdir()) == []


@pytest.mark.parametrize(
    ("kind", "body", "status", "code"),
    [
        ("text/plain", b"x", 415, "media-type"),
        ("multipart/form-data", b"x", 400, "upload-malformed"),
        ("multipart/form-data; boundary=b", b"nonsense", 400, "upload-malformed"),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="f"; filename="a"\r\n\r\ncut off',
            400,
            "upload-malformed",
        ),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="psc"\r\n\r\neast\r\n--b--\r\n',
            400,
            "upload-malformed",
        ),
        ("multipart/form-data; boundary=b", b"--b--\r\n", 400, "no-files"),
    ],
)
def test_malformed_uploads(client: httpx2.Client, kind: str, body: bytes, status: int, code: str) -> None:
    answer = client.post("/v1/studies?psc=east", content=body, headers={"content-type": kind})
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_too_many_parts(client: httpx2.Client) -> None:
    answer = send(client, *[b"x"] * 21)
    assert (answer.status_code, answer.json()["code"]) == (413, "too-many-files")


def test_the_sender_has_to_be_known(client: httpx2.Client) -> None:
    assert send(client, b"x", psc="nowhere").json()["code"] == "psc-unknown"
    unnamed = client.post("/v1/studies", files={"f": b"x"})
    assert (unnamed.status_code, unnamed.json()["code"]) == (422, "psc-missing")


def test_what_is_not_there_is_a_problem_too(client: httpx2.Client) -> None:
    for path, status, code in [
        ("/v1/studies/none", 404, "study-unknown"),
        ("/v1/studies/none/result", 404, "study-unknown"),
        ("/nothing", 404, "not-found"),
        ("/v1/studies", 405, "method-not-allowed"),
    ]:
        answer = client.get(path)
        assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_a_result_is_not_there_before_its_time(client: httpx2.Client) -> None:
    answer = send(client, b"hang", psc="west")
    early = client.get(f"{answer.headers['location']}/result")
    assert (early.status_code, early.json()["code"]) == (409, "result-pending")
    finished(client, answer)


def test_a_full_queue_and_a_full_disk_are_said(settings: Settings) -> None:
    with serving(settings(max_queue=1)) as client:
        send(client, b"hang", psc="west")
        answer = send(client, b"x", psc="west")
        assert (answer.status_code, answer.json()["code"]) == (503, "queue-full")
        assert client.get("/readyz").json()["checks"]["queue"] is False
    with serving(settings(disk_reserve=10**18)) as client:
        assert send(client, b"x").json()["code"] == "disk-full"
        assert client.get("/readyz").json()["checks"]["disk"] is False


def test_ready_means_every_check(client: httpx2.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    ready = until(lambda: (r := client.get("/readyz")).status_code == 200 and r)
    assert all(ready.json()["checks"].values())
    monkeypatch.delenv("TEST_SERVICE_HOOK")
    broken = client.get("/readyz")
    assert broken.status_code == 503 and broken.json()["checks"]["webhook_secrets"] is False


def test_metrics_and_docs(client: httpx2.Client) -> None:
    finished(client, send(client, b"x", psc="west"))
    assert 'lvo_studies_total{status="suspected",tier="thrombectomy"}' in client.get("/metrics").text
    assert client.get("/docs").status_code == 200
    paths = client.get("/openapi.json").json()["paths"]
    assert "multipart/form-data" in paths["/v1/studies"]["post"]["requestBody"]["content"]


def test_a_dicom_file_whose_preamble_looks_like_a_zip_is_no_zip(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"PK\x03\x04" + bytes(124) + b"DICM")
    assert not is_zip(path)


def test_a_huge_directory_is_refused_before_it_is_read(tmp_path: Path) -> None:
    body = bytearray(zipped(("a", b"x")))
    end = body.rfind(b"PK\x05\x06")
    body[end + 12 : end + 16] = (10**9).to_bytes(4, "little")
    (tmp_path / "z").write_bytes(body)
    with pytest.raises(Problem) as caught:
        unpack(tmp_path / "z", tmp_path, max_files=10, max_bytes=100)
    assert caught.value.code == "too-many-files"


def test_settings_come_from_file_environment_and_arguments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert load_settings(EXAMPLE).port == 8000
    path = tmp_path / "service.yaml"
    path.write_text("port: 1\nhost: h\ndevice: cpu\n")
    monkeypatch.setenv("LVO_PORT", "2")
    monkeypatch.setenv("LVO_HOST", "env")
    chosen = load_settings(path, port=3, host=None)
    assert (chosen.port, chosen.host, chosen.device) == (3, "env", "cpu")
    path.write_text("prot: 1\n")
    with pytest.raises(ConfigInvalid, match="prot"):
        load_settings(path)
    with pytest.raises(PathNotFound):
        load_settings(tmp_path / "none.yaml")
