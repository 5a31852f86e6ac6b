import hashlib
import json

import pytest

from lvo.detector.bundle import CHECKSUMS, default_path, load_bundle, seal
from lvo.errors import BundleInvalid


def test_a_sealed_bundle_loads_as_it_was_sealed(bundle_folder, metadata):
    bundle = load_bundle(bundle_folder)
    assert bundle.metadata == metadata
    assert (bundle.name, bundle.version) == ("test", "1.2.3")
    assert bundle.pose_path.read_bytes() == b"not read here"
    assert bundle.digest == hashlib.sha256((bundle_folder / CHECKSUMS).read_bytes()).hexdigest()
    assert seal(bundle_folder) == bundle.digest  # sealing again changes nothing


@pytest.mark.parametrize("name", ["configs/metadata.json", "models/pose.onnx", "models/reader.safetensors"])
def test_an_altered_file_is_refused_by_name(bundle_folder, name):
    path = bundle_folder / name
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(BundleInvalid, match=name):
        load_bundle(bundle_folder)


@pytest.mark.parametrize("name", ["configs/metadata.json", "models/reader.safetensors", CHECKSUMS])
def test_a_missing_file_is_refused_by_name(bundle_folder, name):
    (bundle_folder / name).unlink()
    with pytest.raises(BundleInvalid, match=name):
        load_bundle(bundle_folder)


@pytest.mark.parametrize("listing", ["", "not a checksum\n"])
def test_a_listing_that_was_cut_short_vouches_for_nothing(bundle_folder, listing):
    (bundle_folder / CHECKSUMS).write_text(listing)
    with pytest.raises(BundleInvalid):
        load_bundle(bundle_folder)


def test_a_file_that_nobody_vouched_for_is_refused(bundle_folder):
    (bundle_folder / "models" / "vessels.onnx").write_bytes(b"from elsewhere")
    with pytest.raises(BundleInvalid, match=r"models/vessels\.onnx.*not listed"):
        load_bundle(bundle_folder)


def test_no_bundle_at_all(tmp_path):
    with pytest.raises(BundleInvalid, match="nowhere"):
        load_bundle(tmp_path / "nowhere")


@pytest.mark.parametrize("change", [{"surprise": 1}, {"study_threshold": "high"}])
def test_metadata_that_does_not_fit_is_refused(bundle_folder, change):
    path = bundle_folder / "configs" / "metadata.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    seal(bundle_folder)
    with pytest.raises(BundleInvalid, match=r"metadata\.json"):
        load_bundle(bundle_folder)


def test_the_environment_names_the_bundle(bundle_folder, monkeypatch):
    monkeypatch.setenv("LVO_MODEL", str(bundle_folder))
    assert load_bundle().path == bundle_folder
    monkeypatch.delenv("LVO_MODEL")
    assert default_path().name == "lao-cta"
