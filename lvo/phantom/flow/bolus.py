"""The contrast bolus: how bright arteries and veins are when the scan is taken.

An injection of constant rate is spread by heart and lungs as a lagged normal density (Bassingthwaighte et
al., Circ Res 1966;18:398) and comes round again, weaker and wider. Its height follows iodine flux over
cardiac output (Bae, Radiology 2010;256:32). Veins see the arterial curve later and wider.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict
from scipy.special import gammaincinv

Array = npt.NDArray[np.float64]

HU_PER_MG_ML = {70: 52.0, 80: 42.0, 90: 36.0, 100: 31.5, 110: 28.5, 120: 26.0, 130: 24.0, 140: 22.0}
"""HU gained per mg iodine in a ml of blood, by tube voltage: approximate, after Bae (2010), who gives 25 to
30 at 100 to 120 kVp, and the ratios of 1.6 (80) and 1.2 (100) to 120 kVp that CT physics texts give."""
VEIN_CLASS: dict[str, str] = {
    "cortical vein": "cortical",
    "Sylvian vein": "cortical",
    "internal cerebral vein": "deep",
    "basal vein": "deep",
    "vein of Galen": "deep",
    "straight sinus": "deep",
    "inferior sagittal sinus": "sinus",
    "superior sagittal sinus": "sinus",
    "transverse sinus": "sinus",
    "sigmoid sinus": "sinus",
    "internal jugular vein": "jugular",
    "cavernous sinus": "cavernous",
    "petrosal sinus": "cavernous",
    "ophthalmic vein": "cavernous",
}
"""Which of the classes of veins, that fill one after the other, a structure belongs to."""
REFERENCE_DELAY_S = 2.3
"""From the aortic root to the circle of Willis; phases are told from the peak there."""
_STEP_S, _LENGTH_S = 0.25, 120.0
_DISPERSION = 0.35
"""Standard deviation of transit times over their mean, for every path beyond the aorta."""
_QUANTILES = gammaincinv(_DISPERSION**-2, (np.arange(24) + 0.5) / 24) * _DISPERSION**2
_DELAYS = np.arange(0.0, 60.0, 0.25)


class BolusRanges(BaseModel):
    """Injections, circulations and timings.

    Usual protocols: 40 to 70 ml of 300 to 370 mg/ml at 3.5 to 5 ml/s. Bolus tracking starts the scan as
    arteries near their plateau, so a scan of the peak arterial phase comes just before the very peak, when
    veins have gained little; the shares of early and late scans are approximate.

    Times are seconds from the arterial peak at the circle of Willis.

    Attributes
    ----------
    weight_kg : mean, sd, low, high.
    cardiac_index : l/min/m², mean, sd, low, high.
    volume_ml, rate_ml_s, iodine_mg_ml : low and high.
    iodine_saving : how far sites lower the dose where a lower voltage gives more HU; 1 offsets it wholly.
    strength : low and high factor for what remains in the arm, haematocrit and habitus.
    arm_to_aorta_s, spread_s, tail_s : low and high mean, normal sd and exponential tail, at 5.4 l/min.
    again : low and high share that comes round again.
    blood_hu : low and high, before contrast.
    artery_gain_hu : low and high end of what arteries gain at their peak.
    phase_weights, early_s, peak_s, late_s, venous_s : shares of the phases, and when they are.
    vein_s : mean transit from the aorta by class, at 5.4 l/min; vein_scatter its log-normal sd.
    extraction : low and high share of the iodine that veins give back.
    low_output, low_output_factor, low_output_s : chance of heart failure, what it leaves of the cardiac
        index, and when the scan is then taken: too early for so slow a bolus.
    missed, missed_early_s, missed_late_s : chance of a missed bolus, and when it is.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    weight_kg: tuple[float, float, float, float] = (76.0, 15.0, 42.0, 140.0)
    cardiac_index: tuple[float, float, float, float] = (2.9, 0.45, 1.9, 4.2)
    volume_ml: tuple[float, float] = (40.0, 70.0)
    rate_ml_s: tuple[float, float] = (3.5, 5.0)
    iodine_mg_ml: tuple[float, float] = (300.0, 370.0)
    iodine_saving: float = 0.6
    strength: tuple[float, float] = (0.65, 1.05)
    arm_to_aorta_s: tuple[float, float] = (8.0, 12.0)
    spread_s: tuple[float, float] = (1.2, 2.2)
    tail_s: tuple[float, float] = (1.5, 3.5)
    again: tuple[float, float] = (0.25, 0.45)
    blood_hu: tuple[float, float] = (37.0, 46.0)
    artery_gain_hu: tuple[float, float] = (110.0, 620.0)
    phase_weights: tuple[float, float, float, float] = (0.18, 0.52, 0.22, 0.08)
    early_s: tuple[float, float] = (-8.0, -5.5)
    peak_s: tuple[float, float] = (-5.5, -1.0)
    late_s: tuple[float, float] = (-1.0, 5.0)
    venous_s: tuple[float, float] = (5.0, 11.0)
    vein_s: Mapping[str, float] = {
        "cortical": 8.0,
        "deep": 8.5,
        "sinus": 9.5,
        "jugular": 10.5,
        "cavernous": 6.5,
    }
    vein_scatter: float = 0.12
    extraction: tuple[float, float] = (0.85, 1.0)
    low_output: float = 0.04
    low_output_factor: tuple[float, float] = (0.35, 0.6)
    low_output_s: tuple[float, float] = (-14.0, -5.0)
    missed: float = 0.02
    missed_early_s: tuple[float, float] = (-13.0, -8.0)
    missed_late_s: tuple[float, float] = (14.0, 28.0)


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """Contrast over time at the aortic root: (n,) share of its peak, every 0.25 s from the injection."""

    share: Array

    @property
    def peak_s(self) -> float:
        """Time of the peak, seconds from the injection's start."""
        return float(np.argmax(self.share)) * _STEP_S

    def seen(self, time_s: float, delay_s: npt.ArrayLike) -> Array:
        """Share of the peak that blood shows at a time where it arrives `delay_s` after the aortic root.

        Transit times vary about their mean, so that a late arrival is also a flat one. Infinite delay: 0.
        """
        when = time_s - _DELAYS[:, None] * _QUANTILES
        table = self._at(when).mean(axis=1)
        delay = np.asarray(delay_s, dtype=np.float64)
        found = np.interp(delay, _DELAYS, table)
        return np.where(delay <= _DELAYS[-1], found, 0.0)

    def _at(self, time_s: Array) -> Array:
        place = np.clip(time_s / _STEP_S, 0, len(self.share) - 1.001)
        low = place.astype(np.int64)
        part = place - low
        return self.share[low] * (1 - part) + self.share[low + 1] * part


@dataclass(frozen=True, slots=True, eq=False)
class Bolus:
    """Contrast in a patient at the moment of the scan.

    Attributes
    ----------
    kvp : tube voltage.
    blood : unenhanced blood, HU.
    gain_hu : what the aortic root gains at its peak, HU.
    curve : how that rises and falls.
    time_s : when the scan is taken, seconds from the injection's start.
    vein_s : transit time from the aorta to each class of veins.
    extraction : share of the iodine that veins give back.
    cardiac_output : l/min.
    mimics : what about it could be taken for an occlusion.
    """

    kvp: float
    blood: float
    gain_hu: float
    curve: Curve
    time_s: float
    vein_s: Mapping[str, float]
    extraction: float
    cardiac_output: float
    mimics: tuple[str, ...] = ()

    @property
    def since_peak_s(self) -> float:
        """Seconds from the arterial peak at the circle of Willis to the scan."""
        return self.time_s - self.curve.peak_s - REFERENCE_DELAY_S

    @property
    def phase(self) -> str:
        """Phase of the scan: early, peak, late or venous."""
        after = self.since_peak_s
        return "early" if after < -5.5 else "peak" if after < -1 else "late" if after < 5 else "venous"

    @property
    def artery(self) -> float:
        """Attenuation at the circle of Willis, HU."""
        return float(self.artery_hu(REFERENCE_DELAY_S))

    @property
    def vein(self) -> float:
        """Attenuation of the large dural sinuses, HU."""
        return self.vein_hu("superior sagittal sinus")

    def artery_hu(self, delay_s: npt.ArrayLike) -> Array:
        """Attenuation where blood arrives `delay_s` (any shape) after the aortic root, HU."""
        return self.blood + self.gain_hu * self.curve.seen(self.time_s, delay_s)

    def vein_hu(self, structure: str) -> float:
        """Attenuation of a vein or sinus of `lvo.phantom.vessels.labels.VEIN_STRUCTURES`, HU."""
        seen = float(self.curve.seen(self.time_s, self.vein_s[VEIN_CLASS[structure]]))
        return self.blood + self.gain_hu * self.extraction * seen

    def at(self, seconds_later: float) -> Bolus:
        """The same bolus at a later phase of a multi-phase scan."""
        return replace(self, time_s=self.time_s + seconds_later)


def sample_bolus(rng: np.random.Generator, ranges: BolusRanges, kvp: float = 120.0) -> Bolus:
    """Draw an injection, a circulation and the time of the scan; always the same number of draws."""
    weight, index = _bounded(rng, ranges.weight_kg), _bounded(rng, ranges.cardiac_index)
    fails, misses, early, weak = rng.random(4)
    low_output = fails < ranges.low_output
    if low_output:
        low, high = ranges.low_output_factor
        index *= low + (high - low) * weak
    output = index * 1.85 * float(np.sqrt(weight / 70))  # body surface of about 1.85 m² at 70 kg
    volume, rate = rng.uniform(*ranges.volume_ml), rng.uniform(*ranges.rate_ml_s)
    slow = 5.4 / output
    curve, height = _circulate(rng, ranges, volume / rate, slow)
    factor = float(np.interp(kvp, list(HU_PER_MG_ML), list(HU_PER_MG_ML.values())))
    factor *= (HU_PER_MG_ML[120] / factor) ** ranges.iodine_saving
    iodine = rate * rng.uniform(*ranges.iodine_mg_ml) * rng.uniform(*ranges.strength)
    gain = float(np.clip(factor * iodine / (output * 1000 / 60) * height, *ranges.artery_gain_hu))
    windows = (ranges.early_s, ranges.peak_s, ranges.late_s, ranges.venous_s)
    phase = int(rng.choice(4, p=np.array(ranges.phase_weights) / sum(ranges.phase_weights)))
    missed = misses < ranges.missed
    window = ranges.low_output_s if low_output else windows[phase]
    if missed:
        window = ranges.missed_early_s if early < 0.4 else ranges.missed_late_s
    after = float(rng.uniform(*window))
    mimics = (("low cardiac output",) if low_output else ()) + (("missed bolus",) if missed else ())
    veins = {name: s * slow * rng.lognormal(0.0, ranges.vein_scatter) for name, s in ranges.vein_s.items()}
    return Bolus(
        kvp=kvp,
        blood=float(rng.uniform(*ranges.blood_hu)),
        gain_hu=gain,
        curve=curve,
        time_s=curve.peak_s + REFERENCE_DELAY_S + after,
        vein_s=veins,
        extraction=float(rng.uniform(*ranges.extraction)),
        cardiac_output=output,
        mimics=mimics,
    )


def usual_curve() -> Curve:
    """A typical curve, for figures that should not depend on one patient's bolus."""
    return _curve(13.0, 10.0, 1.7, 2.5, 0.35)[0]


def _circulate(
    rng: np.random.Generator, ranges: BolusRanges, seconds: float, slow: float
) -> tuple[Curve, float]:
    """Curve of an injection of so many seconds, in a circulation `slow` times slower than usual."""
    transit, spread, tail = (
        slow * float(rng.uniform(*r)) for r in (ranges.arm_to_aorta_s, ranges.spread_s, ranges.tail_s)
    )
    return _curve(seconds, transit, spread, tail, float(rng.uniform(*ranges.again)))


def _curve(seconds: float, transit: float, spread: float, tail: float, again: float) -> tuple[Curve, float]:
    """Curve, and its peak's height where an endless injection would reach 1."""
    time = np.arange(0, _LENGTH_S, _STEP_S)
    n = len(time)
    injected = np.clip(np.minimum(time, seconds + 0.5 - time) / 0.5, 0, 1)  # half a second to start and stop

    def lagged_normal(mean: float, sd: float, tau: float) -> Array:
        normal = np.exp(-0.5 * ((time - (mean - tau)) / sd) ** 2)
        density = np.convolve(normal, np.exp(-time / tau))[:n]
        found: Array = density / density.sum()
        return found

    first = np.convolve(injected, lagged_normal(transit, spread, tail))[:n]
    round_trip = again * lagged_normal(1.8 * transit, 3 * spread, 4 * tail)
    whole, echo = first.copy(), first
    for _ in range(4):
        echo = np.convolve(echo, round_trip)[:n]
        whole += echo
    height = float(whole.max())
    return Curve(whole / height), height


def _bounded(rng: np.random.Generator, spread: tuple[float, float, float, float]) -> float:
    mean, sd, low, high = spread
    return float(np.clip(rng.normal(mean, sd), low, high))
