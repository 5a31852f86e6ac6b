"""Measured geometry, attenuation, variants and occlusions of many phantoms, against the published figures.

``scripts/phantom_statistics.py --count 1000 [--preset realistic] [--first 20000] > table.md``

A row is "within" when the phantoms' mean lies within one standard error of the published one. Its standard
error is taken as its SD over the root of 100, a usual size of such series; that of a share is the one
that these patients have. Rows with a star leave out sides that bear the variant "hypoplastic".
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt

from lvo.anatomy import Segment
from lvo.phantom.config import load_config
from lvo.phantom.disease.supply_data import TERRITORY_OF
from lvo.phantom.head.individual import draw_head
from lvo.phantom.patient import Patient, draw_arteries, sample_case
from lvo.phantom.vessels.measure import measure_tree
from lvo.phantom.vessels.routes import MNI_SCALE

SERIES = 100
GEOMETRY: Mapping[str, tuple[tuple[str, ...], float, float]] = {
    "carotid bulb": (("carotid bulb diameter",), 7.6, 1.0),
    "distal cervical ICA": (("distal cervical ICA diameter",), 4.7, 0.5),
    "cavernous ICA": (("cavernous ICA diameter",), 5.0, 0.6),
    "ICA-T": (("ICA-T diameter",), 3.6, 0.4),
    "M1": (("M1 diameter",), 3.1, 0.4),
    "M2, all trunks": (("M2 superior diameter", "M2 inferior diameter", "M2 middle diameter"), 2.4, 0.4),
    "A1*": (("A1 diameter",), 2.2, 0.4),
    "A2": (("A2 diameter",), 2.0, 0.3),
    "P1*": (("P1 diameter",), 2.2, 0.4),
    "basilar* proximal": (("BA proximal diameter",), 3.6, 0.6),
    "basilar* mid": (("BA mid diameter",), 3.2, 0.5),
    "basilar* distal": (("BA distal diameter",), 3.1, 0.5),
    "V4* proximal": (("V4 proximal diameter",), 3.9, 0.8),
    "V4* distal": (("V4 distal diameter",), 2.8, 0.6),
    "cavernous to ICA-T, length": (("cavernous to ICA-T",), 33.1, 6.1),
    "M1, length": (("M1 length",), 22.5, 8.1),
    "basilar, length": (("BA length",), 27.3, 5.7),
    "V4*, length": (("V4 length",), 40.0, 10.6),
}
"""What it is, its names in `measure_tree`, published mean and SD, mm."""
THIN = {"A1": "hypoplastic A1", "P1": "hypoplastic P1", "BA": "hypoplastic basilar", "V4": "hypoplastic V4"}
"""The variant whose vessels are no part of a normal calibre (rows with a star)."""
VARIANTS: Mapping[str, tuple[float, float]] = {
    "fetal PCA, one side": (0.16, 0.18),
    "fetal PCA, both sides": (0.02, 0.05),
    "PComA under 1 mm (per side)": (0.44, 0.44),
    "complete circle of Willis": (0.17, 0.17),
    "hypoplastic basilar": (0.056, 0.056),
    "hypoplastic or absent A1": (0.10, 0.10),
    "hypoplastic VA": (0.10, 0.25),
    "early M1 bifurcation": (0.15, 0.20),
    "azygos A2": (0.01, 0.01),
    "persistent trigeminal": (0.002, 0.005),
}
"""Published low and high share of patients."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--first", type=int, default=20_000, help="first seed")
    parser.add_argument("--preset", default="realistic")
    parser.add_argument("--heads", type=int, default=40, help="heads whose tissue is drawn")
    arguments = parser.parse_args()
    config = load_config(arguments.preset)
    patients = [
        sample_case(n, config).patient for n in range(arguments.first, arguments.first + arguments.count)
    ]
    # Published series leave gross disease out, and the head frame of the calibres is the canonical one.
    trees = [measure_tree(draw_arteries(p.seed, config, p.age)) for p in patients]
    print("| | published | phantoms | |\n|---|---|---|---|")
    _rows(geometry(trees))
    _rows(heights(patients))
    _rows(variants(trees, patients))
    _rows(attenuation(patients))
    _rows(tissue(patients[: arguments.heads]))
    _rows(occlusions(patients))
    _rows(territories(patients))
    print(
        "\n| generation | branches per patient | mean length, mm | arc / chord | lumen, ml |"
        "\n|---|---|---|---|---|"
    )
    _rows(generations(patients, trees))


Row = tuple[str, ...]


def geometry(trees: list[dict[str, float]]) -> Iterable[Row]:
    """Diameters and lengths of both sides, in mm of an average adult."""
    for what, (names, mean, sd) in GEOMETRY.items():
        found = np.concatenate([_values(trees, name, normal="*" in what) for name in names])
        off = abs(found.mean() - mean) / (sd / SERIES**0.5)
        yield (
            what,
            f"{mean} ± {sd}",
            f"{found.mean():.2f} ± {found.std():.2f} (n {len(found)})",
            "within" if off <= 1 else f"{off:.1f} SE off",
        )


def heights(patients: list[Patient]) -> Iterable[Row]:
    """How differently high the basilar artery divides, each head's shape included, mm of an average adult."""
    tops = [b.points[:, 2].max() / MNI_SCALE for p in patients for b in p.arteries.branches if b.name == "BA"]
    yield "basilar, height of its top, SD", "4.5 to 4.7", f"{np.std(tops):.1f} (n {len(tops)})", ""


def variants(trees: list[dict[str, float]], patients: list[Patient]) -> Iterable[Row]:
    """Shares of patients."""
    words = [" ".join(p.arteries.variants) for p in patients]
    fetal = np.array([w.count("fetal PCA") for w in words])
    found = {
        "fetal PCA, one side": fetal == 1,
        "fetal PCA, both sides": fetal == 2,
        "PComA under 1 mm (per side)": _values(trees, "PComA diameter") < 1.0,
        "complete circle of Willis": np.array([t["complete circle"] for t in trees]) > 0,
        "hypoplastic basilar": _said(words, "hypoplastic basilar"),
        "hypoplastic or absent A1": _said(words, "hypoplastic A1") | _said(words, "absent A1"),
        "hypoplastic VA": _said(words, "hypoplastic V") | _said(words, "ends in PICA"),
        "early M1 bifurcation": _said(words, "early M1"),
        "azygos A2": _said(words, "azygos"),
        "persistent trigeminal": _said(words, "trigeminal"),
    }
    for what, (low, high) in VARIANTS.items():
        share = float(found[what].mean())
        nearest = min(max(share, low), high)
        error = (nearest * (1 - nearest) / len(found[what])) ** 0.5
        off = max(low - share, share - high, 0) / error
        wanted = f"{100 * low:g} %" if low == high else f"{100 * low:g} to {100 * high:g} %"
        yield what, wanted, f"{100 * share:.1f} %", "within" if off <= 1 else f"{off:.1f} SE off"


def attenuation(patients: list[Patient]) -> Iterable[Row]:
    """Blood and clot."""
    for phase, published in (
        ("early", ""),
        ("peak", "300 to 450; veins 60 to 150"),
        ("late", "torcula 200 or more"),
    ):
        own = [p.bolus for p in patients if p.bolus.phase == phase and not p.bolus.mimics]
        artery, vein = np.array([b.artery for b in own]), np.array([b.vein for b in own])
        quarters = "{:.0f} ({:.0f}-{:.0f})"
        told = (
            quarters.format(*np.percentile(artery, [50, 25, 75])),
            quarters.format(*np.percentile(vein, [50, 25, 75])),
        )
        yield (
            f"artery; sinus, {phase} phase, HU: median (IQR)",
            published,
            f"{told[0]}; {told[1]} (n {len(own)})",
            "",
        )
    blood = np.array([p.bolus.blood for p in patients])
    yield "flowing blood, NCCT, HU", "40 to 43", f"{blood.mean():.1f} ± {blood.std():.1f}", ""
    clots = np.array([o.hu for p in patients for o in p.occlusions if not o.calcified])
    yield (
        "clot, not calcified, HU",
        "48 to 65, denser than blood in 69 %",
        (f"{clots.mean():.1f} ± {clots.std():.1f}; over 48 HU in {100 * (clots > 48).mean():.0f} %"),
        "",
    )


def tissue(patients: list[Patient]) -> Iterable[Row]:
    """HU of pure voxels, and volumes, on a 2.5 mm lattice through the cranium."""
    step, shape = 2.5, (64, 80, 68)
    affine = np.zeros((4, 4))
    affine[0, 2] = affine[1, 1] = affine[2, 0] = step
    affine[:, 3] = -84, -92, -45, 1
    found: dict[str, list[float]] = {name: [] for name in ("white", "grey", "csf", "bone")}
    volumes: dict[str, list[float]] = {name: [] for name in ("grey", "white", "csf")}
    for p in patients:
        canvas = draw_head(p.head, affine, shape)
        for name, values in found.items():
            pure = canvas.hu[getattr(canvas, name) > 0.95]
            values.append(float(pure.median()))
        for name, values in volumes.items():
            values.append(float(getattr(canvas, name).sum()) * (step / MNI_SCALE) ** 3 / 1000)
    for name, published in (
        ("white", "30 ± 3.5"),
        ("grey", "33 to 40"),
        ("csf", "0 to 15"),
        ("bone", "700 to 3000"),
    ):
        values = np.array(found[name])
        yield (
            f"{name} matter, NCCT, HU" if name in ("white", "grey") else f"{name}, HU",
            published,
            (f"{values.mean():.1f} ± {values.std():.1f} (n {len(values)})"),
            "",
        )
    whole = np.sum([volumes[n] for n in volumes], axis=0)
    shares = "; ".join(f"{n} {100 * np.mean(np.array(volumes[n]) / whole):.0f} %" for n in volumes)
    yield (
        "intracranial volume, ml; shares",
        "about 1450; grey 45-50, white 35-40",
        f"{whole.mean():.0f} ± {whole.std():.0f}; {shares}",
        "",
    )


def occlusions(patients: list[Patient]) -> Iterable[Row]:
    """Where, how long, and what lies beyond."""
    found = [o for p in patients for o in p.occlusions]
    yield (
        "patients with an occlusion",
        "drawn: 50 %",
        f"{100 * np.mean([bool(p.occlusions) for p in patients]):.1f} %",
        "",
    )
    own = [o for o in found if o.segment is not Segment.ICA_CERVICAL]
    lengths = np.array([o.length_mm / MNI_SCALE for o in own])
    quarters = np.percentile(lengths, [25, 50, 75])
    yield (
        "clot length, mm: mean; median (IQR)",
        "18.5; 16.1 (7.6-25.2)",
        (f"{lengths.mean():.1f}; {quarters[1]:.1f} ({quarters[0]:.1f}-{quarters[2]:.1f}) (n {len(own)})"),
        "",
    )
    for segment in (Segment.M1, Segment.M2, Segment.ICA_TERMINUS, Segment.BASILAR):
        told = []
        for grade in range(4):
            fills = [o.fill for o in found if o.segment is segment and o.collateral == grade]
            told.append(f"{np.median(fills):.2f} (n {len(fills)})" if fills else "-")
        yield (
            f"contrast beyond a clot of {segment.label}, grades 0 to 3",
            "none to nearly full",
            ", ".join(told),
            "",
        )


def territories(patients: list[Patient]) -> Iterable[Row]:
    """Brain that each artery feeds, as a share of what the three cerebral arteries feed."""
    published = {"MCA": "50 to 55 %", "ACA": "20 to 25 %", "PCA": "20 to 25 %"}
    shares: dict[str, list[float]] = {name: [] for name in published}
    for p in patients:
        volumes = p.supply.volumes()
        whole = {name: 0.0 for name in published}
        for structure, volume in zip(p.supply.structures, volumes, strict=True):
            name = TERRITORY_OF.get(structure, "")
            name = "MCA" if name == "lenticulostriate" else name
            if name in whole:
                whole[name] += float(volume)
        for name, volume in whole.items():
            shares[name].append(100 * volume / sum(whole.values()))
    for name, wanted in published.items():
        found = np.array(shares[name])
        yield (
            f"territory of the {name}, share of the cerebrum",
            wanted,
            f"{found.mean():.0f} ± {found.std():.0f} %",
            "",
        )


def generations(patients: list[Patient], trees: list[dict[str, float]]) -> Iterable[Row]:
    """Number, length, tortuosity and lumen of the branches of each structure."""
    structures = (
        "ICA-I",
        "M1",
        "M2",
        "M3",
        "M4",
        "A1",
        "A2",
        "A3",
        "V4",
        "BA",
        "P1",
        "P2",
        "P3",
        "SCA",
        "AICA",
        "PICA",
    )
    for name in structures:
        own = [[b for b in p.arteries.branches if b.structure == name] for p in patients]
        lumen = [sum(float(np.trapezoid(np.pi * b.radius**2, b.arc)) for b in branches) for branches in own]
        told = [np.array([t[f"{name} {what}"] for t in trees if f"{name} {what}" in t]) for what in _MEASURES]
        yield (
            name,
            f"{told[0].mean():.0f}",
            f"{told[1].mean():.0f} ± {told[1].std():.0f}",
            f"{told[2].mean():.2f}",
            f"{np.mean(lumen) / MNI_SCALE**3 / 1000:.2f}",
        )


_MEASURES = ("count", "mean length", "tortuosity")


def _values(trees: list[dict[str, float]], name: str, normal: bool = False) -> npt.NDArray[np.float64]:
    """A measure of both sides (or the midline) of every tree that has it; `normal` leaves out hypoplasia."""
    thin = THIN.get(name.split(" ")[0], "")
    return np.array(
        [
            t[key]
            for t in trees
            for side in ("", " left", " right")
            if (key := name + side) in t
            and not (normal and any(v.startswith(f"variant: {thin}") and v.endswith(side) for v in t))
            and not (normal and name.startswith("P1") and f"variant: fetal PCA{side}" in t)
        ]
    )


def _said(words: list[str], what: str) -> npt.NDArray[np.bool_]:
    return np.array([what in w for w in words])


def _rows(rows: Iterable[Row]) -> None:
    for row in rows:
        print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
