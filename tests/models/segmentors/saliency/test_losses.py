"""The terms of the loss against SciPy and numbers made by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from mmmamba.errors import UsageError
from mmmamba.models.segmentors.saliency import losses
from mmmamba.models.segmentors.saliency.losses import SaliencyLoss

RNG = np.random.default_rng(0)
P, M = RNG.random((2, 9, 7)), RNG.random((2, 9, 7))
TENSORS = torch.from_numpy(P), torch.from_numpy(M)


def test_divergence_is_scipys_entropy() -> None:
    wanted = [stats.entropy(m.ravel(), p.ravel()) for p, m in zip(P, M)]
    np.testing.assert_allclose(losses.kl_divergence(*TENSORS), wanted, rtol=1e-10)


def test_correlation_is_scipys() -> None:
    wanted = [stats.pearsonr(p.ravel(), m.ravel())[0] for p, m in zip(P, M)]
    np.testing.assert_allclose(losses.correlation(*TENSORS), wanted, rtol=1e-10)


def test_scanpath_saliency_is_the_mean_of_scipys_scores() -> None:
    seen = M > 0.8
    wanted = [stats.zscore(p, axis=None, ddof=1)[s].mean() for p, s in zip(P, seen)]
    found = losses.scanpath_saliency(TENSORS[0], torch.from_numpy(seen))
    np.testing.assert_allclose(found, wanted, rtol=1e-10)


def test_similarity_by_hand() -> None:
    # Scaled to 0, 1/2, 1 and 0, 1, 1/2; as shares 0, 1/3, 2/3 and 0, 2/3, 1/3.
    p, m = torch.tensor([[[2.0, 3.0, 4.0]]]), torch.tensor([[[0.0, 1.0, 0.5]]])
    assert losses.similarity(p, m).item() == pytest.approx(2 / 3)


def test_the_sum_has_the_published_weights_and_signs() -> None:
    logits, seen = torch.from_numpy(P).logit(), torch.from_numpy(M > 0.8)
    found = SaliencyLoss()(logits, TENSORS[1], seen)
    p, m = (x.float() for x in TENSORS)
    wanted = dict(
        loss_kl=10 * losses.kl_divergence(p, m).mean(),
        loss_cc=-2 * losses.correlation(p, m).mean(),
        loss_sim=-losses.similarity(p, m).mean(),
        loss_nss=-losses.scanpath_saliency(p, seen).mean(),
        loss_mse=5 * (p - m).square().mean(),
    )
    assert list(found) == list(wanted)
    for name, value in wanted.items():
        assert found[name].item() == pytest.approx(value.item(), rel=1e-5), name
    assert list(SaliencyLoss(1, 0, 0, 0, 0)(logits, TENSORS[1])) == ["loss_kl"]


def test_half_precision_is_left_behind() -> None:
    logits = torch.linspace(-20, 20, 64).half().view(1, 8, 8).requires_grad_()
    truth = torch.zeros(1, 8, 8).half()
    truth[0, 0, 0] = 1e-4
    with torch.autocast("cpu", torch.float16):
        terms = SaliencyLoss()(logits, truth, truth)
    assert all(term.dtype == torch.float32 for term in terms.values())
    sum(terms.values()).backward()
    assert logits.grad.isfinite().all()


def test_maps_without_anything_add_nothing() -> None:
    """No saliency, no fixations, a prediction that is the same everywhere."""
    nothing, flat = torch.zeros(1, 4, 4), torch.zeros(1, 4, 4, requires_grad=True)
    terms = SaliencyLoss()(flat, nothing, nothing)
    assert all(terms[name] == 0 for name in ("loss_kl", "loss_cc", "loss_sim", "loss_nss"))
    sum(terms.values()).backward()
    assert flat.grad.isfinite().all()


NONE = dict.fromkeys(("kl_weight", "cc_weight", "sim_weight", "nss_weight", "mse_weight"), 0)


@pytest.mark.parametrize("weights", [dict(cc_weight=-2), NONE])
def test_weights_that_mean_nothing_are_refused(weights: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="numbers from 0 on"):
        SaliencyLoss(**weights)
