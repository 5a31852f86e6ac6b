"""The second stage on a site's studies: calibration, and the reader where studies are enough."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from lvo.anatomy import SITES, Segment
from lvo.detector.bundle import Calibration, Metadata
from lvo.detector.reader import STUDY_ANSWERS, Reader, calibrated, reader_from
from lvo.training.calibration import fit_platt
from lvo.training.reader import ReaderConfig, Readings, fit_reader, study_truth
from lvo.training.release import with_thresholds
from lvo.training.site_data import SiteReadings

F32 = npt.NDArray[np.float32]
Tensors = dict[str, F32]
Probabilities = npt.NDArray[np.float64]
_MOST = 10.0
"""Times a phantom that a study of the site weighs at most."""


def mixed_logits(site: SiteReadings, phantoms: Readings, config: ReaderConfig) -> F32:
    """Logits (n, sites + STUDY_ANSWERS) of studies, by readers of phantoms and the other patients."""
    out = np.empty_like(site.truth)
    for inside in _folds(site.patients, config.folds):
        reader = reader_from(train_mixed(site, inside, phantoms, config))
        out[~inside] = plain_logits(site.features[~inside], reader)
    return out


def plain_logits(features: F32, reader: Reader) -> F32:
    """Logits (n, sites + STUDY_ANSWERS) by a reader that has seen none of the studies."""
    return np.stack([reader.logits(f) for f in features])


def train_mixed(
    site: SiteReadings, chosen: npt.NDArray[np.bool_], phantoms: Readings, config: ReaderConfig
) -> Tensors:
    """The reader on phantoms and on chosen studies; what is not known of a study trains nothing.

    The site's studies together weigh as much as the phantoms together, but each at most ten times a phantom.

    Returns
    -------
    dict
        The tensors of ``reader.safetensors``.
    """
    features = np.concatenate([phantoms.features, site.features[chosen]])
    known = np.concatenate([phantoms.sites, study_truth(phantoms.sites)], axis=1)
    truth = np.concatenate([known, site.truth[chosen]])
    count = int(chosen.sum())
    share = np.repeat([1.0, min(_MOST, len(known) / max(1, count))], [len(known), count])
    return fit_reader(features, truth, share, config)


def calibrate(
    logits: F32,
    site: SiteReadings,
    base: Metadata,
    config: ReaderConfig,
    least: int,
    otherwise: Callable[[tuple[int, ...]], Calibration],
) -> Metadata:
    """A bundle's metadata with Platt scaling and thresholds from a site's studies.

    Parameters
    ----------
    logits : (n, sites + STUDY_ANSWERS), of readers that have not seen the study.
    least : occlusions from which a segment, or thrombectomy, is calibrated on the site's studies.
    otherwise : calibration of columns of the logits of which there are fewer.
    """

    def fitted(*columns: int) -> Calibration:
        values, truth = logits[:, columns].ravel(), site.truth[:, columns].ravel()
        enough = (truth > 0).sum() >= least and (truth == 0).any()
        return fit_platt(values[truth >= 0], truth[truth >= 0]) if enough else otherwise(columns)

    patent = int((~site.occluded).sum())
    unset = base.model_copy(
        update={
            "study": fit_platt(logits[:, -STUDY_ANSWERS], site.truth[:, -STUDY_ANSWERS]),
            "thrombectomy": fitted(len(SITES) + 1),
            "sites": {s: fitted(*(n for n, (t, _) in enumerate(SITES) if t is s)) for s in Segment},
            "operating_point": f"specificity {config.specificity:g} on {patent} patent studies of a site",
        }
    )
    return with_thresholds(unset, [calibrated(v, unset) for v in logits], site.occluded, config)


def with_novelty(metadata: Metadata, reader: Reader, features: F32, *, least: Metadata | None) -> Metadata:
    """Novelty limits so that images like these are not strange; not below those of another, where given."""
    seen = np.array([reader.novelty(f) for f in features])
    unusual, strange = float(np.quantile(seen, 0.99)), 2 * float(seen.max())
    if least is not None:
        unusual, strange = max(unusual, least.novelty_unusual), max(strange, least.novelty_strange)
    return metadata.model_copy(
        update={"novelty_unusual": round(unusual, 4), "novelty_strange": round(strange, 4)}
    )


def held_out(logits: F32, site: SiteReadings, metadata: Metadata, folds: int) -> Probabilities:
    """Probability of any occlusion of every study, (n,), by a calibration that did not see its patient."""
    column, out = logits[:, -STUDY_ANSWERS], np.empty(len(logits))
    for inside in _folds(site.patients, folds):
        truth = site.truth[inside, -STUDY_ANSWERS]
        whole = 0 < truth.sum() < len(truth)
        c = fit_platt(column[inside], truth) if whole else metadata.study
        out[~inside] = 1 / (1 + np.exp(-(c.slope * column[~inside].astype(np.float64) + c.offset)))
    return out


def _folds(patients: tuple[str, ...], folds: int) -> list[npt.NDArray[np.bool_]]:
    """For every fold, which studies are inside; those of one patient stay together."""
    names = sorted(set(patients))
    order = np.random.default_rng(0).permutation(len(names))
    fold = dict(zip(names, (int(n) % folds for n in order), strict=True))
    number = np.array([fold[name] for name in patients])
    return [number != k for k in range(folds) if (number == k).any()]
