"""What a site's bundle says of itself, and the parity cases it is checked with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from lvo.detector.bundle import Bundle, Metadata, seal
from lvo.detector.detect import load_detector
from lvo.errors import BundleInvalid


def described(judged: Metadata, base: Bundle, version: str, kind: str, counts: Mapping[str, int]) -> Metadata:
    """Metadata that say what was done: counts of studies, but nothing of any of them.

    Parameters
    ----------
    judged : with the site's calibration and thresholds.
    kind : what was trained.
    counts : ``studies``, ``occluded``, ``network`` (that taught it) and ``calibration``.
    """
    note = (
        f"{base.metadata.trained_on}; finetuned ({kind}) from version {base.version}, digest "
        f"{base.digest[:16]}, on {counts['studies']} labelled studies of one site, {counts['occluded']} of "
        f"them occluded: {counts['network']} taught the network, {counts['calibration']} others the rest"
    )
    use = (
        "Research use only. Not a medical device. The model was trained on synthetic data and then adapted "
        f"to {counts['studies']} studies of one site. Every result must be reviewed by a clinician."
    )
    return judged.model_copy(update={"version": version, "trained_on": note, "intended_use": use})


def restate_parity(out: Path, base: Path) -> int:
    """Answer the parity cases of the former bundle, which are phantoms, with the new one; returns how many.

    A patient's pixels never go into a bundle. Cases that now lie near a threshold are left out.

    Raises
    ------
    BundleInvalid
        None is left.
    """
    with np.load(base / "parity" / "cases.npz", allow_pickle=False) as stored:
        cases = {name: stored[name] for name in ("cta", "ncct", "has_ncct")}
    path = out / "parity" / "cases.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    seal(out)
    detector = load_detector(out, "cpu")
    kept, answers = [], []
    for n, has in enumerate(cases["has_ncct"]):
        ncct = cases["ncct"][n].astype(np.float32) if has else None
        answer = detector.detect(cases["cta"][n].astype(np.float32), ncct)
        if answer.doubt not in ("equivocal", "strange"):
            kept.append(n)
            answers.append(answer)
    if not kept:
        raise BundleInvalid("(every parity case lies near the new thresholds)")
    np.savez_compressed(
        path,
        **{name: values[kept] for name, values in cases.items()},
        study=np.array([(a.probability, a.thrombectomy) for a in answers]),
        sites=np.array([[p for _, _, p in a.segments] for a in answers]),
        suspected=np.array([a.suspected for a in answers]),
    )
    return len(kept)
