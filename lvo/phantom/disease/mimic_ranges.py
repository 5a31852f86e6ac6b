"""How often vessels are diseased, where and how badly: settings that a configuration may widen."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from lvo.phantom.disease.plaque import CalciumRanges, Odds, Range


class StenosisSite(BaseModel):
    """Atherosclerotic stenosis of one structure, each side on its own.

    Attributes
    ----------
    present : any stenosis, of which about half is under 50 %.
    along : where between the ends, 0 to 1.
    length_mm : full width at half maximum.
    distal : grades refer to the normal vessel beyond (NASCET), not to the vessel's own calibre (WASID).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    present: Odds
    along: Range = (0.1, 0.9)
    length_mm: Range = (2.0, 8.0)
    distal: bool = False


class AneurysmSite(BaseModel):
    """Where a saccular aneurysm sits: structure, where along it, how often, and whether it points ahead.

    An aneurysm of a bifurcation points on in the direction of flow, others stand off the side.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    structure: str
    along: Range
    weight: float
    ahead: bool


def _site(
    at_70: float, per_decade: float, along: Range, length_mm: Range, distal: bool = False
) -> StenosisSite:
    present = Odds(at_70=at_70, per_decade=per_decade)
    return StenosisSite(present=present, along=along, length_mm=length_mm, distal=distal)


def _aneurysm(structure: str, along: Range, weight: float, ahead: bool) -> AneurysmSite:
    return AneurysmSite(structure=structure, along=along, weight=weight, ahead=ahead)


class MimicRanges(BaseModel):
    """Vessel disease that is no occlusion, in patients of a code-stroke service.

    All figures are approximate where no series is named. Carotid stenosis of 50 % and more in 10 to 15 % of
    such patients, intracranial stenosis of 50 % and more in about 10 % of white and 30 to 50 % of Asian
    patients (Qureshi and Caplan, Lancet 2014); dissection 2 % of all strokes but 20 % under 45 years (Debette
    and Leys, Lancet Neurol 2009); unruptured aneurysm 3.2 % (Vlak et al., Lancet Neurol 2011), its sites as
    in PHASES (Greving et al., Lancet Neurol 2014) and most under 7 mm; dolichoectasia 3 to 12 %;
    near-occlusion about a tenth of severe carotid stenoses (Johansson and Fox, AJNR 2016).

    Attributes
    ----------
    stenoses : by structure, drawn for each side.
    grade : diameter reduction, low and high; grade_shape : of the Beta distribution between them.
    eccentricity : 0 (concentric) to 1 (the lumen touches one wall).
    calcified : share of stenoses whose plaque bears calcium; soft_hu : plaque without.
    near_occlusion, near_occlusion_* : a string sign; collapse : radius of the carotid beyond, of its normal.
    dissection, dissection_sites (weights), dissection_grade, dissection_mm, wall_blood_hu : chance, form, and
        the haematoma in the wall.
    aneurysm, sites, dome_mm (median, sd of the logarithm, least, most), neck : share of the dome's diameter.
    ectasia, ectasia_widening, ectasia_swing_mm : dolichoectasia of the basilar or a vertebral artery.
    fusiform, fusiform_widening, fusiform_mm : a long local widening.
    treated : chance that an aneurysm has been treated before, half with a clip, half with coils.
    carotid_stent, intracranial_stent, *_stent_mm : chances and lengths.
    vasospasm, spasm_grade; beading, beads, bead_grade, bead_mm : diffuse and multifocal narrowing.
    moyamoya, moyamoya_grade, moss : and by how much lenticulostriate arteries widen.
    malformation, nidus_mm, fistula, shunted : shunts; share of arterial contrast that their vein shows.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    calcium: CalciumRanges = CalciumRanges()
    stenoses: dict[str, StenosisSite] = {
        "ICA-C": _site(0.16, 1.8, (0.01, 0.12), (4.0, 16.0), True),
        "CCA": _site(0.03, 1.8, (0.2, 1.0), (4.0, 12.0)),
        "ICA-I": _site(0.08, 1.6, (0.2, 0.95), (2.0, 8.0)),
        "ICA-T": _site(0.01, 1.4, (0.2, 0.8), (2.0, 5.0)),
        "M1": _site(0.05, 1.3, (0.1, 0.95), (2.0, 9.0)),
        "M2": _site(0.02, 1.3, (0.05, 0.8), (2.0, 6.0)),
        "A1": _site(0.01, 1.3, (0.1, 0.9), (2.0, 6.0)),
        "A2": _site(0.015, 1.3, (0.1, 0.9), (2.0, 6.0)),
        "P1": _site(0.015, 1.4, (0.1, 0.9), (2.0, 5.0)),
        "P2": _site(0.03, 1.4, (0.05, 0.9), (2.0, 6.0)),
        "V4": _site(0.06, 1.7, (0.1, 0.9), (2.0, 10.0)),
        "VA": _site(0.06, 1.7, (0.0, 0.15), (2.0, 8.0)),
        "BA": _site(0.05, 1.6, (0.05, 0.9), (2.0, 9.0)),
        "subclavian": _site(0.02, 1.8, (0.2, 0.7), (4.0, 12.0)),
    }
    grade: Range = (0.10, 0.99)
    grade_shape: Range = (1.3, 1.5)
    eccentricity: Range = (0.0, 1.0)
    calcified: float = 0.55
    soft_hu: Range = (15.0, 75.0)
    near_occlusion: Odds = Odds(at_70=0.010, per_decade=1.6)
    near_occlusion_grade: Range = (0.7, 0.95)
    near_occlusion_along: Range = (0.01, 0.12)
    near_occlusion_mm: Range = (4.0, 16.0)
    collapse: Range = (0.25, 0.65)
    dissection: Odds = Odds(at_70=0.006, per_decade=0.6)
    dissection_sites: dict[str, float] = {"ICA-C": 0.65, "VA": 0.27, "V4": 0.08}
    dissection_grade: Range = (0.3, 0.97)
    dissection_mm: Range = (15.0, 70.0)
    wall_blood_hu: Range = (40.0, 70.0)
    aneurysm: Odds = Odds(at_70=0.035, per_decade=1.2)
    sites: tuple[AneurysmSite, ...] = (
        _aneurysm("M1", (1.0, 1.0), 0.30, True),
        _aneurysm("AComA", (0.3, 0.7), 0.22, False),
        _aneurysm("ICA-I", (0.90, 1.0), 0.20, False),  # at the origin of the posterior communicating artery
        _aneurysm("ICA-I", (0.70, 0.88), 0.12, False),  # ophthalmic and cavernous
        _aneurysm("ICA-T", (1.0, 1.0), 0.05, True),
        _aneurysm("BA", (1.0, 1.0), 0.06, True),
        _aneurysm("V4", (0.3, 0.6), 0.03, False),
        _aneurysm("A2", (0.8, 1.0), 0.02, True),
    )
    dome_mm: tuple[float, float, float, float] = (4.5, 0.5, 2.0, 25.0)
    neck: Range = (0.35, 0.85)
    ectasia: Odds = Odds(at_70=0.05, per_decade=1.7)
    ectasia_widening: Range = (1.3, 1.9)
    ectasia_swing_mm: Range = (2.0, 9.0)
    fusiform: Odds = Odds(at_70=0.004, per_decade=1.2)
    fusiform_widening: Range = (1.5, 3.0)
    fusiform_mm: Range = (6.0, 25.0)
    treated: Odds = Odds(at_70=0.12)
    carotid_stent: Odds = Odds(at_70=0.012, per_decade=1.3)
    intracranial_stent: Odds = Odds(at_70=0.003)
    carotid_stent_mm: Range = (25.0, 40.0)
    intracranial_stent_mm: Range = (9.0, 20.0)
    vasospasm: Odds = Odds(at_70=0.003, per_decade=0.7)
    spasm_grade: Range = (0.2, 0.7)
    beading: Odds = Odds(at_70=0.006, per_decade=0.7)
    beads: tuple[int, int] = (4, 14)
    bead_grade: Range = (0.25, 0.8)
    bead_mm: Range = (1.5, 5.0)
    moyamoya: Odds = Odds(at_70=0.0006, per_decade=0.6)
    moyamoya_grade: Range = (0.55, 0.97)
    moss: Range = (1.4, 2.2)
    malformation: Odds = Odds(at_70=0.002, per_decade=0.8)
    nidus_mm: Range = (6.0, 22.0)
    fistula: Odds = Odds(at_70=0.001)
    shunted: Range = (0.4, 1.0)
