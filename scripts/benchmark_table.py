"""Draws the table of the frozen benchmark: one row per study, strata balanced within each group.

``scripts/benchmark_table.py > configs/phantom/benchmark.csv``

A seed is taken if its patient has the segments to be occluded, or the variant or mimic of its stratum; else
the next of its sequence is tried. Version 1 was drawn once and is not drawn again: a new table is a new
version.
"""

from __future__ import annotations

import csv
import re
import sys
from itertools import cycle, islice

import numpy as np

from lvo.phantom.benchmark import COLUMNS, order_of
from lvo.phantom.config import PhantomConfig, load_config
from lvo.phantom.patient import sample_case

FIRST_SEED = 7_100_000
WORDS = {
    "hypoplastic VA": "hypoplastic V4|ends in PICA", "hypoplastic BA": "hypoplastic basilar",
    "plaque": "calcified plaque \\w+ (ICA-I|M1|V4|BA)", "haemorrhage": "(deep|lobar) haemorrhage",
    "subarachnoid": "subarachnoid", "metal": "clip|coil", "tumour": "glioma|metastasis|meningioma",
    "late bolus": "", "low output": "low cardiac output", "venous contamination": "",
    "fenestration": "fenestrated",
    **{name: name for name in ("fetal PCA", "hypoplastic A1", "absent A1", "hypoplastic P1", "azygos A2")},
    **{name: name for name in ("early M1 bifurcation", "M1 trifurcation", "persistent trigeminal")},
    **{name: name for name in ("old infarct", "aneurysm")},
}  # fmt: skip
"""What the truth of a study says where it has the variant or mimic of its stratum."""
ONE_SITE = {
    "ICA-C": 24, "ICA-I": 30, "ICA-T": 70, "M1": 110, "M2": 100, "M3": 20, "A1": 8, "A2": 14,
    "V4": 20, "BA": 64, "P1": 12, "P2": 14,
}  # fmt: skip
SEVERAL = {
    "left:ICA-C left:M1": 6, "right:ICA-C right:M1": 6, "left:M1 left:A2": 3, "right:M1 right:A2": 3,
    "left:M1 right:M1": 3, "left:M2 right:M2": 2, "left:V4 midline:BA": 3, "left:M2 left:M3": 2,
    "right:ICA-T right:P2": 2,
}  # fmt: skip
VARIANTS = {
    "fetal PCA": 36, "hypoplastic A1": 30, "absent A1": 12, "hypoplastic VA": 30, "hypoplastic P1": 16,
    "hypoplastic BA": 20, "early M1 bifurcation": 16, "M1 trifurcation": 8, "azygos A2": 6, "fenestration": 6,
    "persistent trigeminal": 4,
}  # fmt: skip
MIMICS = {
    "stenosis": 44, "plaque": 28, "old infarct": 16, "haemorrhage": 14, "subarachnoid": 6, "aneurysm": 14,
    "metal": 8, "tumour": 10, "late bolus": 14, "low output": 14, "venous contamination": 10, "motion": 10,
}  # fmt: skip


def main() -> None:
    rng, config = np.random.default_rng(20261124), load_config("benchmark")
    rows: list[dict[str, object]] = []
    for segment, count in ONE_SITE.items():
        sides = ["midline"] if segment == "BA" else ["left", "right"]
        rows += [{"sites": f"{side}:{segment}"} for side in islice(cycle(sides), count)]
    rows += [{"sites": sites} for sites, count in SEVERAL.items() for _ in range(count)]
    occluded = len(rows)
    _spread(rows, "collateral", range(4), rng)
    patent = [{"variant": v} for v, count in VARIANTS.items() for _ in range(count)]
    patent += [{"mimic": m} for m, count in MIMICS.items() for _ in range(count)]
    patent += [{} for _ in range(occluded - len(patent))]
    rows += patent
    for part in (rows[:occluded], rows[occluded:]):
        _spread(part, "phase", ["early", "peak", "peak", "late"], rng)
        _spread(part, "noise", ["low", "middle", "high"], rng)
        _spread(part, "slice_mm", [0.7, 1.0, 1.0, 1.5], rng)
        _spread(part, "ncct", ["yes", "yes", "yes", "yes", "no"], rng)
    table = csv.DictWriter(sys.stdout, COLUMNS, lineterminator="\n")
    table.writeheader()
    for n, at in enumerate(rng.permutation(len(rows))):
        row = rows[at]
        for bolus in ("late bolus", "low output", "venous contamination"):
            if row.get("mimic") == bolus:
                row["phase"] = ""  # the mimic decides it
        full = {name: str(row.get(name, "")) for name in COLUMNS} | {"study": f"benchmark-{n + 1:04d}"}
        seed = next(s for s in range(FIRST_SEED + n, FIRST_SEED + 10**8, 10**4) if fits(s, full, config))
        table.writerow(full | {"seed": str(seed)})
        sys.stdout.flush()


def fits(seed: int, row: dict[str, str], config: PhantomConfig) -> bool:
    """Whether a seed's patient is what the row says."""
    try:
        case = sample_case(seed, config, order_of(row))
    except ValueError:
        return False
    told = "; ".join((*case.patient.variants, *case.patient.mimics))
    if row["mimic"] == "motion":
        return case.scan.motion.kind != "still"
    if row["mimic"] == "stenosis":
        return any(50 <= int(g) <= 97 for g in re.findall(r"stenosis \w+ (?:ICA|M1|V4|BA)\S* (\d+)%", told))
    wanted = WORDS.get(row["variant"] or row["mimic"], "")
    return re.search(wanted, told) is not None


def _spread(rows: list[dict[str, object]], column: str, values: object, rng: np.random.Generator) -> None:
    """Give every value to equally many rows, in an order drawn at random."""
    levels = list(islice(cycle(values), len(rows)))  # type: ignore[call-overload]
    for row, at in zip(rows, rng.permutation(len(rows)), strict=True):
        row[column] = levels[at]


if __name__ == "__main__":
    main()
