"""A small sealed bundle, and evidence drawn by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from scipy import ndimage

from lvo.anatomy import SITES, Segment, Side
from lvo.detector.bundle import Metadata, seal
from lvo.detector.evidence import DEFICIT_GRID, EVIDENCE_GRID, VESSEL_CLASSES, Evidence, Tissue
from lvo.detector.features import FEATURES, WEIGHED
from lvo.detector.reader import STUDY_ANSWERS

STRONGEST_CLOT = 0
"""Of the features that the reader weighs: the four voxels of a site where clot is likeliest."""
Build = Callable[..., Evidence]


@pytest.fixture
def metadata() -> Metadata:
    return Metadata.model_validate(
        {
            "name": "test",
            "version": "1.2.3",
            "intended_use": "tests",
            "trained_on": "nothing",
            "input_format": "head box",
            "network": {},
            "mirrored_view": False,
            "study": {},
            "thrombectomy": {},
            "sites": {},
            "study_threshold": 0.6,
            "thrombectomy_threshold": 0.7,
            "site_thresholds": {segment: 0.3 for segment in Segment},
            "operating_point": "tests",
            "equivocal_margin": 0.2,
            "novelty_unusual": 1e6,
            "novelty_strange": 2e6,
        }
    )


@pytest.fixture
def bundle_folder(tmp_path: Path, metadata: Metadata) -> Path:
    """A sealed bundle whose reader looks only at the strongest clot of each site."""
    folder = tmp_path / "bundle"
    for name in ("configs", "models"):
        (folder / name).mkdir(parents=True)
    (folder / "configs" / "metadata.json").write_text(json.dumps(metadata.model_dump(mode="json")))
    (folder / "models" / "pose.onnx").write_bytes(b"not read here")
    tensors = reader_tensors()
    for name in ("weight", "place"):
        tensors[name][:, STRONGEST_CLOT] = 2
    tensors["pool"][0] = 1
    save_file(tensors, folder / "models" / "reader.safetensors")
    seal(folder)
    return folder


def reader_tensors() -> dict[str, np.ndarray]:
    """A reader that answers nothing but zeros."""
    columns = WEIGHED.stop - WEIGHED.start
    sizes = {
        "mean": (len(SITES), FEATURES),
        "spread": (len(SITES), FEATURES),
        "twin": (columns,),
        "weight": (len(Segment), columns),
        "bias": (len(Segment),),
        "pool": (2, STUDY_ANSWERS),
        "place": (len(Segment), columns * 4),
        "place_bias": (len(Segment),),
    }
    tensors = {name: np.zeros(size, np.float32) for name, size in sizes.items()}
    return tensors | {"spread": tensors["spread"] + 1}


def places() -> np.ndarray:
    """Head-frame (x, y, z) of every voxel of EVIDENCE_GRID, shape (z, y, x, 3)."""
    index = np.stack(np.meshgrid(*map(np.arange, EVIDENCE_GRID.shape), indexing="ij"), -1)
    return index @ EVIDENCE_GRID.affine[:3, :3].T + EVIDENCE_GRID.affine[:3, 3]


@pytest.fixture
def make_evidence() -> Build:
    """Both M1 as lit tubes, with what is asked for: balls of clot or missing lumen at (x, y, z), radius."""

    def build(
        clot: tuple[tuple[tuple[float, float, float], float], ...] = (),
        missing: tuple[tuple[tuple[float, float, float], float], ...] = (),
    ) -> Evidence:
        where = places()
        vessel = np.zeros((VESSEL_CLASSES, *EVIDENCE_GRID.shape), np.float32)
        for side, sign in ((Side.LEFT, 1), (Side.RIGHT, -1)):  # x from 10 to 35 mm on each side
            x, y, z = np.moveaxis(where - (sign * 22.5, -3, 15), -1, 0)
            inside = np.hypot(np.hypot(np.clip(np.abs(x) - 12.5, 0, None), y), z) < 2.6
            vessel[1 + SITES.index((Segment.M1, side))] = 0.95 * inside
        vessel[0] = 1 - vessel.sum(axis=0)
        states = np.zeros((3, *EVIDENCE_GRID.shape), np.float32)
        for row, balls in ((1, missing), (2, clot)):
            for centre, radius in balls:
                states[row][np.linalg.norm(where - centre, axis=-1) < radius] = 0.9
        states[0] = 1 - states[1:].sum(axis=0)
        bright = np.where((vessel[0] < 0.5) & (states[0] > 0.5), 350, 40).astype(np.float32)
        ends = ndimage.binary_dilation(states[2] > 0) & (states[2] == 0) & (vessel[0] < 0.5)
        return Evidence(
            vessel,
            *states,
            ends.astype(np.float32),
            bright,
            Tissue(np.zeros(len(SITES), np.float32), np.zeros(DEFICIT_GRID.shape, np.float32)),
        )

    return build


@pytest.fixture
def empty_reader() -> Callable[..., dict[str, np.ndarray]]:
    """See `reader_tensors`."""
    return reader_tensors
