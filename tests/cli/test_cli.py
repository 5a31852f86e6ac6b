from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

import lvo
from lvo import detector, pipeline
from lvo.anatomy import Segment, Side
from lvo.cli import app, parse_occlusion
from lvo.errors import BundleInvalid, UsageError
from lvo.phantom.head import atlas
from lvo.phantom.write import StudyIdentity, write_series
from lvo.study import SCHEMA_VERSION, StudyResult, Volume

DOCS = Path(__file__).parents[2] / "docs"
MakeResult = Callable[..., StudyResult]


class NoDetector:
    """Carries a name; fails the test that asks it anything."""

    backend = "onnxruntime-cpu"

    class bundle:  # noqa: N801
        name, version, digest, pose_path = "test", "0", "0" * 64, Path("none")

    def detect(self, *_: object) -> None:
        raise AssertionError("the detector was asked about a study without a CTA")


@pytest.fixture(autouse=True)
def any_detector(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LVO_DEBUG", raising=False)
    monkeypatch.setattr(detector, "load_detector", lambda *_: NoDetector(), raising=False)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments])


def test_a_wrong_path_is_wrong_usage(tmp_path: Path) -> None:
    result = run("score", tmp_path / "nothing", "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert "path-not-found" in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("bad", [["--device", "tpu"], ["--no-such-option"], []])
def test_wrong_options_are_wrong_usage(tmp_path: Path, bad: list[str]) -> None:
    out = ["--out", tmp_path / "out"] if bad else []
    assert run("score", tmp_path, *out, *bad).exit_code == 2


def test_an_output_that_is_a_file_is_wrong_usage(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = run("score", tmp_path, "--out", tmp_path / "file")
    assert result.exit_code == 2
    assert "output-unwritable" in result.stderr


@pytest.mark.parametrize("content", [None, b"not an image", b"\0" * 200])
def test_a_folder_without_dicom_is_not_analysed(tmp_path: Path, content: bytes | None) -> None:
    study = tmp_path / "study"
    study.mkdir()
    if content is not None:
        (study / "notes.dcm").write_bytes(content)
    result = run("score", study, "--out", tmp_path / "out")
    assert result.exit_code == 3
    assert "NOT ANALYSED" in result.stdout
    written = StudyResult.model_validate_json((tmp_path / "out" / "result.json").read_text())
    assert [r.code for r in written.reasons if r.kind == "rejection"] == ["no-dicom"]


def test_json_is_the_result_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "study").mkdir()
    result = run("score", tmp_path / "study", "--out", tmp_path / "out", "--json")
    assert result.exit_code == 3
    printed = StudyResult.model_validate_json(result.stdout)
    assert printed == StudyResult.model_validate_json((tmp_path / "out" / "result.json").read_text())


@pytest.mark.parametrize("status", ["suspected", "not_suspected"])
def test_an_analysed_study_exits_with_zero(
    monkeypatch: pytest.MonkeyPatch, make_result: MakeResult, tmp_path: Path, status: str
) -> None:
    monkeypatch.setattr(pipeline, "score_folder", lambda *_, **__: make_result(status))
    assert run("score", tmp_path, "--out", tmp_path / "out").exit_code == 0


def test_a_fault_is_one_line_and_a_written_result(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(pipeline, "analyse", lambda *_: 1 / 0)
    result = run("score", tmp_path, "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert "Traceback" not in result.output
    written = json.loads((tmp_path / "out" / "result.json").read_text())
    assert (written["status"], written["reasons"][-1]["code"]) == ("not_analysed", "internal-fault")


def test_a_damaged_model_is_a_fault_and_leaves_no_old_answer(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def damaged(*_: object) -> None:
        raise BundleInvalid

    out = tmp_path / "out"
    out.mkdir()
    (out / "result.json").write_text("{}")
    monkeypatch.setattr(detector, "load_detector", damaged, raising=False)
    result = run("score", tmp_path, "--out", out)
    assert result.exit_code == 1
    assert "model-bundle-invalid" in result.stderr
    assert not (out / "result.json").exists()


def ct_study(folder: Path) -> Path:
    affine = np.array([[0, 0, 4.5, -108], [0, 4.5, 0, -108], [1.5, 0, 0, -42], [0, 0, 0, 1]])
    volume = Volume(np.full((8, 48, 48), -1000, np.int16), affine)
    identity = StudyIdentity.from_seed("cli")
    write_series(folder, volume, identity=identity, series_number=4, description="[red]Head")
    return folder


def test_ingest_writes_volumes_and_an_inventory(tmp_path: Path) -> None:
    result = run("ingest", ct_study(tmp_path / "study"), "--out", tmp_path / "out")
    assert result.exit_code == 0
    assert "[red]Head" in result.stdout and "004-bolus-tracking.nii" in result.stdout
    inventory = json.loads((tmp_path / "out" / "inventory.json").read_text())
    assert inventory["stacks"][0]["shape"] == [8, 48, 48]
    printed = run("ingest", tmp_path / "study", "--out", tmp_path / "out", "--json")
    assert json.loads(printed.stdout)["stacks"] == inventory["stacks"]


def test_ingest_lists_without_writing(tmp_path: Path) -> None:
    result = run("ingest", ct_study(tmp_path / "study"), "--list")
    assert result.exit_code == 0 and "bolus tracking" in result.stdout
    assert [p.name for p in tmp_path.iterdir()] == ["study"]


def test_ingest_refuses_what_is_no_study_and_wrong_usage(tmp_path: Path) -> None:
    (tmp_path / "study").mkdir()
    result = run("ingest", tmp_path / "study", "--list")
    assert result.exit_code == 3 and "no-dicom" in result.stdout
    assert run("ingest", tmp_path / "study").exit_code == 2
    assert run("ingest", tmp_path / "nowhere", "--list").exit_code == 2


def test_the_published_schema_is_the_one_in_use() -> None:
    printed = run("schema")
    assert printed.exit_code == 0
    schema = json.loads(printed.stdout)
    assert schema == json.loads((DOCS / "result.schema.json").read_text()), (
        "the result changed: raise SCHEMA_VERSION and run `lvo schema > docs/result.schema.json`"
    )
    assert schema["properties"]["schema_version"]["default"] == SCHEMA_VERSION


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("left:M1", (Side.LEFT, Segment.M1)),
        ("RIGHT:ica-t", (Side.RIGHT, Segment.ICA_TERMINUS)),
        ("midline:BA", (Side.MIDLINE, Segment.BASILAR)),
    ],
)
def test_occlusions_are_read(text: str, place: tuple[Side, Segment]) -> None:
    assert parse_occlusion(text) == place


@pytest.mark.parametrize("text", ["M1", "left:BA", "midline:M1", "left:", "left:M1:x"])
def test_an_occlusion_that_does_not_exist_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_occlusion(text)


def test_version_is_printed() -> None:
    assert run("--version").stdout.strip() == f"lvo {lvo.__version__}"


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [("lvo.cli", "numpy torch monai onnxruntime SimpleITK pydicom"), ("lvo.pipeline", "torch monai")],
)
def test_starting_is_light(module: str, unwanted: str) -> None:
    code = f"import {module}, sys; print(*(set({unwanted.split()!r}) & set(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.split() == []


def test_phantom_refuses_what_it_cannot_draw(tmp_path: Path) -> None:
    for words, told in (
        (["--preset", "benchmark", "--seed", 3], "frozen"),
        (["--preset", tmp_path / "none.yaml"], "path-not-found"),
        (["--occlusion", "left:BA"], "There is no occlusion"),
    ):
        result = run("phantom", "--out", tmp_path / "out", *words)
        assert result.exit_code == 2 and told in result.stderr


@pytest.mark.skipif(
    atlas.atlas_path() is None, reason="spm-runtime, which holds the head atlas, is not installed"
)
def test_a_patient_without_the_segment_is_wrong_usage(tmp_path: Path) -> None:
    preset = tmp_path / "mine.yaml"
    preset.write_text("version: '1'\narteries: {a1_hypoplasia: 1.0, a1_absent: 1.0}\n")
    sides = ("left", "right")  # one of which has no A1
    found = [
        run(
            "phantom", "--out", tmp_path, "--preset", preset, "--matrix", 64, "--slices", 32,
            "--occlusion", f"{side}:A1",
        )
        for side in sides
    ]  # fmt: skip
    assert sorted(r.exit_code for r in found) == [0, 2]
    assert "take another --seed" in "".join(r.stderr for r in found)
