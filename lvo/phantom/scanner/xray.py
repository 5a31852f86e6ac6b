"""What a polychromatic beam measures of water, bone and metal, against what it should.

Attenuation coefficients are those of NIST (Hubbell and Seltzer, NISTIR 5632, 1995), cm2/g. The tube is
Kramers' law behind aluminium, read by an energy-integrating detector; scanners calibrate it on water.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

F64 = npt.NDArray[np.float64]

_KEV = np.array([20, 30, 40, 50, 60, 80, 100, 150], float)
_MASS_ATTENUATION: dict[str, tuple[float, ...]] = {
    "water": (0.8096, 0.3756, 0.2683, 0.2269, 0.2059, 0.1837, 0.1707, 0.1505),
    "bone": (4.001, 1.331, 0.6655, 0.4242, 0.3148, 0.2229, 0.1855, 0.1480),  # cortical, ICRU-44
    "aluminium": (3.441, 1.128, 0.5685, 0.3681, 0.2778, 0.2018, 0.1704, 0.1378),
    "titanium": (15.85, 4.972, 2.214, 1.213, 0.7661, 0.4052, 0.2721, 0.1649),
    "steel": (25.68, 8.176, 3.629, 1.958, 1.205, 0.5952, 0.3717, 0.1964),  # as iron
    "gold": (78.83, 27.52, 12.98, 7.256, 4.528, 2.185, 5.158, 1.860),  # stands for platinum and amalgam
}
_DENSITY = {"water": 1.0, "bone": 1.92, "aluminium": 2.699, "titanium": 4.54, "steel": 7.87, "gold": 19.3}
METALS = ("titanium", "steel", "gold")
SOFT_HU = 100.0
"""Above this, attenuation is given to bone, below to water of some density (Joseph and Spital 1978)."""
_TYPICAL_WATER_MM, _TYPICAL_BONE_MM = 150.0, 15.0
_FILTER_MM = 8.0  # of aluminium: inherent, flat and bow-tie filter together
_STEP_KEV = 10.0


@dataclass(frozen=True, slots=True)
class Spectrum:
    """A tube voltage as the detector sees it.

    Attributes
    ----------
    weight : share of the signal per energy, sums to 1
    water, bone, metals : linear attenuation per energy, 1/mm
    to_water : coefficients c of ``mm of water = sum c[n] p ** (n + 1)``: the scanner's calibration
    bone_mm : mm of water that the scanner takes 1 mm of cortical bone for, in an average calvarium
    """

    weight: F64
    water: F64
    bone: F64
    to_water: F64
    bone_mm: float
    metals: Mapping[str, F64] = field(default_factory=dict)

    @property
    def bone_hu(self) -> float:
        """HU of solid cortical bone in an average head."""
        return 1000.0 * (self.bone_mm - 1.0)

    def signal(self, paths: tuple[tuple[F64, Tensor], ...]) -> Tensor:
        """Share of the beam that is left.

        Parameters
        ----------
        paths : for every material its attenuation per energy (1/mm) and mm of it in each ray, tensors of one
            shape
        """
        total = torch.zeros_like(paths[0][1])
        for n, weight in enumerate(self.weight):
            depth = paths[0][1] * float(paths[0][0][n])
            for mu, length in paths[1:]:
                depth = torch.add(depth, length, alpha=float(mu[n]))
            total += float(weight) * torch.exp(-depth)
        return total

    def read(self, signal: Tensor) -> Tensor:
        """Mm of water that the scanner takes a signal for."""
        p = -torch.log(signal)
        out = torch.full_like(p, float(self.to_water[-1]))
        for c in self.to_water[-2::-1]:
            out = out * p + float(c)
        return out * p


@functools.lru_cache(maxsize=64)
def spectrum(kvp: float) -> Spectrum:
    """The beam of a tube voltage (70 to 150 kV)."""
    energy = np.arange(25.0, kvp, _STEP_KEV)
    mu = {name: _linear(name, energy) for name in _MASS_ATTENUATION}
    weight = (kvp / energy - 1) * energy * np.exp(-mu["aluminium"] * _FILTER_MM)
    weight /= weight.sum()
    length = np.linspace(1, 700, 140)
    p = -np.log(np.exp(-np.outer(length, mu["water"])) @ weight)
    to_water = np.linalg.lstsq(p[:, None] ** np.arange(1, 6) / length[:, None], np.ones(140), rcond=None)[0]
    metals = MappingProxyType({name: mu[name] for name in METALS})
    found = Spectrum(weight, mu["water"], mu["bone"], to_water, 1.0, metals)
    typical = ((mu["water"], _TYPICAL_WATER_MM), (mu["bone"], _TYPICAL_BONE_MM))
    seen = found.read(found.signal(tuple((m, torch.tensor(v, dtype=torch.float64)) for m, v in typical)))
    return Spectrum(
        weight,
        mu["water"],
        mu["bone"],
        to_water,
        (float(seen) - _TYPICAL_WATER_MM) / _TYPICAL_BONE_MM,
        metals,
    )


def calcium_scale(kvp: float) -> float:
    """HU of bone and calcium at a tube voltage, relative to 120 kV."""
    return spectrum(kvp).bone_hu / spectrum(120.0).bone_hu


def scale_calcium(hu: Tensor, kvp: float) -> None:
    """Bring bone and calcium of an unenhanced image drawn for 120 kV to another tube voltage, in place."""
    hu += torch.clamp(hu - SOFT_HU, min=0) * (calcium_scale(kvp) - 1)


def split(hu: Tensor, beam: Spectrum) -> tuple[Tensor, Tensor]:
    """Density of water and of cortical bone (1 = solid) that make up every voxel's HU."""
    bone = torch.clamp((hu - SOFT_HU) / (beam.bone_hu - SOFT_HU), min=0)
    soft = torch.clamp(1 + torch.clamp(hu, max=SOFT_HU) / 1000, min=0)
    # What is denser than cortical bone is more bone, not bone and water in one place.
    bone = torch.where(bone > 1, (hu + 1000) / (beam.bone_hu + 1000), bone)
    return soft * torch.clamp(1 - bone, min=0), bone


def _linear(name: str, energy: F64) -> F64:
    mass = np.exp(np.interp(np.log(energy), np.log(_KEV), np.log(_MASS_ATTENUATION[name])))
    return np.asarray(mass * _DENSITY[name] / 10)
