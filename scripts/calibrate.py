"""Calibrate a bundle on studies that came to it by the whole route, and set its thresholds there.

``scripts/score_phantoms.py --preset benchmark --seed 60000000 --count 400 --keep-boxes --out BOXES``
``scripts/calibrate.py --boxes BOXES --model M --out M2``

The reader's own pool is drawn straight into the box; a study loses a little evidence on its way there. What
the network and the reader weigh stays as it is.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from functools import partial
from pathlib import Path

import numpy as np

from lvo.anatomy import SITES
from lvo.detector import Detector, load_detector
from lvo.detector.bundle import seal
from lvo.detector.detect import margin
from lvo.detector.features import site_features
from lvo.detector.reader import calibrated
from lvo.errors import LvoError, TruthInvalid
from lvo.evaluation.boxes import read_box
from lvo.evaluation.cases import Case, read_cases
from lvo.training.boxed import DataConfig
from lvo.training.reader import ReaderConfig, study_truth
from lvo.training.release import write_metadata
from lvo.training.scoring import BY_ROUTE
from lvo.training.site_bundle import restate_parity
from lvo.training.site_data import SiteReadings
from lvo.training.site_reader import calibrate, former, plain_logits

_LEAST = 10
"""Occlusions from which a segment is calibrated on these studies."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--boxes", type=Path, nargs="+", required=True, help="of score_phantoms.py or score_composed.py"
    )
    parser.add_argument("--model", type=Path, required=True, help="bundle that scored them")
    parser.add_argument("--out", type=Path, required=True, help="bundle to write; may be the same")
    parser.add_argument("--specificity", type=float, default=0.94, help="on the patent studies among them")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    try:
        told = recalibrate(arguments)
    except LvoError as fault:
        print(f"{fault.code}: {fault.message}", file=sys.stderr)
        return 2
    print(told)
    return 0


def recalibrate(arguments: argparse.Namespace) -> str:
    """Write the bundle; what to say of it."""
    detector = load_detector(arguments.model, "cpu", threads=arguments.threads)
    cases = [(d / c.study, c) for d in arguments.boxes for c in read_cases(d, d) if c.analysed]
    seen = look_again(detector, cases)
    patent = int((~seen.occluded).sum())
    if min(patent, len(cases) - patent) < _LEAST:
        raise TruthInvalid(f"There are {len(cases)} analysed studies, {patent} of them patent: too few.")
    logits, base = plain_logits(seen.features, detector.reader), detector.bundle.metadata
    # Patients are of no use to a calibration.
    config = ReaderConfig(patients=DataConfig(), specificity=arguments.specificity)
    metadata = calibrate(logits, seen, base, config, _LEAST, partial(former, base))
    point = f"specificity {config.specificity:g} on {patent} patent studies {BY_ROUTE}"
    metadata = metadata.model_copy(update={"operating_point": point})
    found = np.array([margin(calibrated(row, metadata), metadata) >= 0 for row in logits])
    if arguments.out.resolve() != arguments.model.resolve():
        shutil.copytree(arguments.model, arguments.out)
    write_metadata(arguments.out, metadata)
    restate_parity(arguments.out, arguments.model)
    seal(arguments.out)
    return (
        f"{arguments.out}: {len(cases)} studies; sensitivity {found[seen.occluded].mean():.3f}, specificity "
        f"{1 - found[~seen.occluded].mean():.3f}, thresholds {metadata.study_threshold} and "
        f"{metadata.thrombectomy_threshold}"
    )


def look_again(detector: Detector, cases: list[tuple[Path, Case]]) -> SiteReadings:
    """What the detector sees of studies whose boxes were kept in folders, and what is true of them."""
    features = []
    for folder, _ in cases:
        box = read_box(folder)
        if box is None:
            raise TruthInvalid(f"{folder} has no box: score with --keep-boxes.")
        features.append(site_features(detector.look(box.cta, box.ncct)))
    occluded = [{(o.segment, o.side) for o in case.occlusions} for _, case in cases]
    sites = np.array([[site in some for site in SITES] for some in occluded], np.float32)
    truth = np.concatenate([sites, study_truth(sites)], axis=1)
    return SiteReadings(np.stack(features), truth, tuple(str(folder) for folder, _ in cases))


if __name__ == "__main__":
    sys.exit(main())
