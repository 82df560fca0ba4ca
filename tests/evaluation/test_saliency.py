"""Measures of saliency against SciPy and numbers made by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from mmmamba.errors import UsageError
from mmmamba.evaluation import saliency
from mmmamba.evaluation.saliency import SaliencyMetric, auc_judd

RNG = np.random.default_rng(0)
P, M = RNG.random((12, 10)), RNG.random((12, 10))
SEEN = RNG.random((12, 10)) > 0.8


def test_measures_are_scipys() -> None:
    assert saliency.kl_divergence(P, M) == pytest.approx(stats.entropy(M.ravel(), P.ravel()))
    assert saliency.correlation(P, M) == pytest.approx(stats.pearsonr(P.ravel(), M.ravel())[0])
    wanted = stats.zscore(P, axis=None, ddof=1)[SEEN].mean()
    assert saliency.scanpath_saliency(P, SEEN) == pytest.approx(wanted)


def test_similarity_by_hand() -> None:
    p, m = np.array([[2.0, 3.0, 4.0]]), np.array([[0.0, 1.0, 0.5]])
    assert saliency.similarity(p, m) == pytest.approx(2 / 3)
    assert saliency.similarity(M, M) == pytest.approx(1)


def test_auc_by_hand() -> None:
    # Two fixations, at 4 and 2, among pixels of 3 and 1: (0, 1/2), then (1/2, 1), then (1, 1).
    p, seen = np.array([[4.0, 3.0, 2.0, 1.0]]), np.array([[1, 0, 1, 0]])
    assert auc_judd(p, seen) == pytest.approx((0.5 + 1) / 2 * 0.5 + 0.5)
    assert auc_judd(np.array([[9.0, 1.0, 1.0]]), np.array([[1, 0, 0]])) == 1
    assert auc_judd(np.array([[0.0, 1.0, 1.0]]), np.array([[1, 0, 0]])) == pytest.approx(0.5)


def test_pixels_that_are_equal_cross_a_threshold_together() -> None:
    assert auc_judd(np.full((12, 10), 0.3), SEEN) == 0.5
    # Jitter parts them in one way or another, and comes to the same on average.
    coarse = np.round(P * 3)
    jittered = [auc_judd(coarse + 1e-6 * RNG.random(P.shape), SEEN) for _ in range(400)]
    assert auc_judd(coarse, SEEN) == pytest.approx(np.mean(jittered), abs=0.02)
    assert np.isnan(auc_judd(P, np.zeros_like(SEEN)))


def sample(predicted: np.ndarray, truth: np.ndarray, seen: np.ndarray | None) -> dict:
    found = dict(
        pred_saliency=dict(data=torch.from_numpy(predicted)[None]),
        gt_saliency=dict(data=torch.from_numpy(truth)[None].float()),
    )
    if seen is not None:
        found["gt_fixation"] = dict(data=torch.from_numpy(seen.astype(np.uint8))[None])
    return found


def test_means_over_images_that_have_them() -> None:
    metric = SaliencyMetric()
    empty = np.zeros_like(SEEN)
    metric.process(None, [sample(P, M, SEEN), sample(M, M, empty), sample(P, 0 * M, SEEN)])
    found = metric.evaluate(3)
    assert list(found) == [f"saliency/{name}" for name in ("KL", "CC", "SIM", "NSS", "AUC")]
    truth = M.astype(np.float32).astype(np.float64)
    assert found["saliency/CC"] == pytest.approx((saliency.correlation(P, truth) + 1) / 2)
    assert found["saliency/AUC"] == pytest.approx(auc_judd(P, SEEN))


def test_maps_of_other_sizes_are_compared_at_that_of_the_truth() -> None:
    metric = SaliencyMetric(["CC", "NSS"])
    ramp = np.outer(np.ones(24), np.linspace(0, 1, 40))
    metric.process(None, [sample(ramp, np.outer(np.ones(12), np.linspace(0, 1, 20)), ramp > 0.9)])
    found = metric.evaluate(1)
    assert found["saliency/CC"] > 0.999 and found["saliency/NSS"] > 1


def test_what_is_lacking_or_unknown_is_told() -> None:
    with pytest.raises(UsageError, match="Did you mean 'AUC'"):
        SaliencyMetric(["AUCC"])
    with pytest.raises(UsageError, match="fixation_map_path"):
        SaliencyMetric().process(None, [sample(P, M, None)])
    metric = SaliencyMetric(["KL", "CC", "SIM"])
    metric.process(None, [sample(P, M, None)])
    assert set(metric.evaluate(1)) == {"saliency/KL", "saliency/CC", "saliency/SIM"}
