"""How well predicted saliency maps agree with where people looked.

The measures are those of Bylinskii et al., arXiv 1604.03605. They are computed in float64 at the
size of the true maps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.registry import METRICS

from ..errors import UsageError, naming
from ..suggest import did_you_mean

EPS = np.finfo(np.float64).eps


def kl_divergence(predicted: np.ndarray, truth: np.ndarray) -> float:
    """How far the predicted distribution is from the true one, from 0 on; less is better."""
    p, m = _distribution(predicted), _distribution(truth)
    return float((m * np.log(EPS + m / (p + EPS))).sum())


def correlation(predicted: np.ndarray, truth: np.ndarray) -> float:
    """Pearson's, from -1 to 1; 0 where one of the maps is the same everywhere."""
    p, m = predicted - predicted.mean(), truth - truth.mean()
    power = np.sqrt((p * p).sum() * (m * m).sum())
    return float((p * m).sum() / power) if power > 0 else 0.0


def similarity(predicted: np.ndarray, truth: np.ndarray) -> float:
    """What two distributions share, from 0 to 1, each map scaled to 0 … 1 before."""
    p, m = (_distribution(_from_0_to_1(x)) for x in (predicted, truth))
    return float(np.minimum(p, m).sum())


def scanpath_saliency(predicted: np.ndarray, fixations: np.ndarray) -> float:
    """The mean of the standardised map where people looked; NaN where nobody did."""
    deviation = predicted.std(ddof=1)
    standard = (predicted - predicted.mean()) / deviation if deviation > 0 else 0.0 * predicted
    return float(standard[fixations > 0].mean()) if (fixations > 0).any() else np.nan


def auc_judd(predicted: np.ndarray, fixations: np.ndarray) -> float:
    """The area under the curve of Judd et al. (ICCV 2009), whose thresholds are the fixations'.

    At each, the share of fixations that are at least as salient against that of the other pixels.
    Pixels that are equally salient cross a threshold together: no random jitter parts them, as in
    published code, and of a map that is the same everywhere it is exactly 1/2. NaN where nobody
    looked, or everywhere.
    """
    seen = fixations > 0
    if not 0 < seen.sum() < seen.size:
        return np.nan
    # From the most salient on.
    thresholds = np.unique(predicted[seen])[::-1]
    hits, misses = (_share_from(predicted[where], thresholds) for where in (seen, ~seen))
    x, y = (np.concatenate([[0.0], shares, [1.0]]) for shares in (misses, hits))
    return float((np.diff(x) * (y[1:] + y[:-1]) / 2).sum())


def _share_from(values: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """The share of values that are at least as large as each threshold."""
    below = np.searchsorted(np.sort(values), thresholds, side="left")
    return 1 - below / values.size


def _distribution(x: np.ndarray) -> np.ndarray:
    return x / max(x.sum(), EPS)


def _from_0_to_1(x: np.ndarray) -> np.ndarray:
    return (x - x.min()) / max(x.max() - x.min(), EPS)


MEASURES: dict[str, tuple[str, Callable[[np.ndarray, np.ndarray], float]]] = {
    "KL": ("gt_saliency", kl_divergence),
    "CC": ("gt_saliency", correlation),
    "SIM": ("gt_saliency", similarity),
    "NSS": ("gt_fixation", scanpath_saliency),
    "AUC": ("gt_fixation", auc_judd),
}
"""By the name that configs and results use: what it compares with, and how."""


@METRICS.register_module()
class SaliencyMetric(BaseMetric):
    """Means over the images of KL, CC, SIM, NSS and AUC (Judd's).

    Images without fixations, or without any saliency, are left out of the means that are about
    those; a mean over none is NaN.

    Args:
        measures: which; NSS and AUC need fixations.
        output_dir: where predicted maps go, grey PNGs of 16 bits, if anywhere.
        arguments: mmengine's.

    Raises:
        UsageError: a name that is none of these; in an evaluation, no fixations for what needs
            them.
    """

    default_prefix = "saliency"

    def __init__(
        self,
        measures: Sequence[str] = tuple(MEASURES),
        output_dir: str | None = None,
        **arguments: Any,
    ) -> None:
        super().__init__(**arguments)
        for name in measures:
            if name not in MEASURES:
                raise UsageError(
                    f"SaliencyMetric knows {', '.join(MEASURES)}, not {name!r}."
                    + did_you_mean(name, MEASURES)
                )
        self.measures, self.output_dir = tuple(measures), output_dir

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Measure each image; numbers alone are kept and gathered from all processes."""
        for sample in data_samples:
            predicted = _array(sample["pred_saliency"])
            if self.output_dir is not None:
                _save(predicted, Path(self.output_dir, f"{Path(sample['img_path']).stem}.png"))
            measured = []
            for name in self.measures:
                field, measure = MEASURES[name]
                if field not in sample:
                    raise UsageError(_lacking(name, field))
                truth = _array(sample[field])
                if field == "gt_saliency" and not truth.any():
                    measured.append(np.nan)
                    continue
                measured.append(measure(_at(predicted, truth.shape), truth))
            self.results.append(measured)

    def compute_metrics(self, results: list) -> dict[str, float]:
        """The mean of each over the images that have it."""
        rows = np.array(results, dtype=np.float64).reshape(-1, len(self.measures))
        found = {}
        for name, column in zip(self.measures, rows.T):
            there = column[~np.isnan(column)]
            found[name] = float(there.mean()) if there.size else float("nan")
        return found


def _array(held: dict) -> np.ndarray:
    """The map of a sample, (H, W) of float64."""
    return held["data"].squeeze(0).cpu().numpy().astype(np.float64)


def _save(predicted: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    grey = np.round(65535 * predicted.clip(0, 1)).astype(np.uint16)
    with naming(path):
        path.write_bytes(cv2.imencode(".png", grey)[1].tobytes())


def _at(predicted: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """A prediction at the size of the truth, where files of maps have another than images."""
    if predicted.shape == size:
        return predicted
    return cv2.resize(predicted, size[::-1], interpolation=cv2.INTER_LINEAR)


def _lacking(name: str, field: str) -> str:
    if field == "gt_fixation":
        return (
            f"{name} compares with fixations, which the samples lack: give the data set "
            "data_prefix=dict(fixation_map_path=...), or leave it out: "
            "SaliencyMetric(measures=['KL', 'CC', 'SIM'])"
        )
    return (
        f"{name} compares with saliency maps, which the samples lack: the pipeline wants "
        "dict(type='LoadSaliencyAnnotations') and dict(type='PackSaliencyInputs')"
    )
