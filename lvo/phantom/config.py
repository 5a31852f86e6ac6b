"""What a set of patients is drawn from: one frozen configuration, read from ``configs/phantom/*.yaml``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from lvo.errors import ConfigInvalid, PathNotFound
from lvo.phantom.disease.lesion_ranges import LesionRanges
from lvo.phantom.disease.mimic_ranges import MimicRanges
from lvo.phantom.flow.bolus import BolusRanges
from lvo.phantom.flow.occlude import OcclusionRanges
from lvo.phantom.head.individual import HeadRanges
from lvo.phantom.scanner.scan_ranges import ScanRanges
from lvo.phantom.vessels.variants import TreeRanges
from lvo.phantom.vessels.veins import VeinRanges

PRESETS = ("realistic", "training", "benchmark")
Changes = Mapping[str, Any]


class CaseRanges(BaseModel):
    """Who comes, and what is blocked.

    Attributes
    ----------
    age : mean, sd, low, high, years.
    occluded : share of patients with an occlusion.
    sites : weight of each segment among the occluded; sides are equally likely.
    tandem, multiple : share of the occluded with a cervical clot on the same side, and with a second site
        anywhere.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    age: tuple[float, float, float, float] = (71.0, 14.0, 18.0, 97.0)
    occluded: float = 0.5
    sites: dict[str, float] = {
        "ICA-C": 0.05, "ICA-I": 0.06, "ICA-T": 0.14, "M1": 0.26, "M2": 0.17, "M3": 0.04,
        "A1": 0.02, "A2": 0.04, "V4": 0.04, "BA": 0.11, "P1": 0.03, "P2": 0.04,
    }  # fmt: skip
    tandem: float = 0.05
    multiple: float = 0.04


class PhantomConfig(BaseModel):
    """All that is drawn of patients and scans.

    Attributes
    ----------
    version : of the set of patients; two sets of one version and seed are the same.
    strata : named partial configurations, each of which makes sure of one variant or mimic.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: str
    case: CaseRanges = CaseRanges()
    head: HeadRanges = HeadRanges()
    arteries: TreeRanges = TreeRanges()
    veins: VeinRanges = VeinRanges()
    mimics: MimicRanges = MimicRanges()
    occlusions: OcclusionRanges = OcclusionRanges()
    bolus: BolusRanges = BolusRanges()
    lesions: LesionRanges = LesionRanges()
    scan: ScanRanges = ScanRanges()
    strata: dict[str, dict[str, Any]] = {}

    def changed(self, *changes: Changes) -> PhantomConfig:
        """Lay partial configurations over this one, in their order.

        Raises
        ------
        ConfigInvalid
            When a change names what there is not, or gives it an impossible value.
        """
        merged: dict[str, Any] = self.model_dump()
        for change in changes:
            merged = _merged(merged, change)
        try:
            return PhantomConfig.model_validate(merged)
        except ValidationError as error:
            raise ConfigInvalid(str(error)) from error

    def stratum(self, name: str) -> Changes:
        """What makes sure of a variant or mimic.

        Raises
        ------
        ConfigInvalid
            When there is no such stratum.
        """
        if name not in self.strata:
            raise ConfigInvalid(f"no stratum {name!r} among {', '.join(self.strata)}")
        return self.strata[name]


def folder() -> Path:
    """Where the presets lie: in a checkout, or in an installed package."""
    package = Path(__file__).resolve().parents[1]
    checkout = package.parent / "configs" / "phantom"
    return checkout if checkout.is_dir() else package / "_configs" / "phantom"


def load_config(source: str | Path) -> PhantomConfig:
    """A preset by name, or a YAML file; what it does not name is as in life.

    Raises
    ------
    PathNotFound
        There is no such preset or file.
    ConfigInvalid
        The file is not a configuration; the message names the key.
    """
    path = folder() / f"{source}.yaml" if str(source) in PRESETS else Path(source)
    if not path.is_file():
        raise PathNotFound(str(path))
    try:
        said = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ConfigInvalid(f"{path}: {error}") from error
    if not isinstance(said, dict) or "version" not in said:
        raise ConfigInvalid(f"{path}: not a phantom configuration: it has no version")
    try:
        return PhantomConfig(version="").changed(said)
    except ConfigInvalid as error:
        raise ConfigInvalid(f"{path}: {error}") from error


def _merged(base: Mapping[str, Any], change: Changes) -> dict[str, Any]:
    out = dict(base)
    for key, value in change.items():
        old = out.get(key)
        both = isinstance(value, Mapping) and isinstance(old, Mapping)
        out[key] = _merged(old, value) if both else value  # type: ignore[arg-type]
    return out
