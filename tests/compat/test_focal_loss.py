"""Focal losses against their equation under autograd."""

import pytest
import torch
from mmcv.ops import SoftmaxFocalLoss, sigmoid_focal_loss, softmax_focal_loss

from mmmamba.compat import compiled_extension

pytestmark = pytest.mark.skipif(
    compiled_extension() is not None, reason="mmcv has its compiled operators"
)

# Class 4 of 4 is background, -1 is ignored.
TARGETS = torch.tensor([0, 3, 1, 4, -1, 2])


def scores(dtype=torch.float64) -> torch.Tensor:
    x = torch.randn(6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 3
    return x.to(dtype).requires_grad_()


def plain_sigmoid(
    x: torch.Tensor, target: torch.Tensor, gamma: float, alpha: float
) -> torch.Tensor:
    rows = []
    for n in range(len(x)):
        for c in range(x.shape[1]):
            p = torch.sigmoid(x[n, c])
            p_t, a_t = (p, alpha) if int(target[n]) == c else (1 - p, 1 - alpha)
            rows.append(-a_t * (1 - p_t) ** gamma * torch.log(p_t))
    return torch.stack(rows).view_as(x)


def plain_softmax(
    x: torch.Tensor, target: torch.Tensor, gamma: float, alpha: float
) -> torch.Tensor:
    p = x.softmax(dim=1)
    rows = [
        -alpha * (1 - p[n, t]) ** gamma * torch.log(p[n, t]) if t >= 0 else 0 * p[n, 0]
        for n, t in enumerate(target)
    ]
    return torch.stack(rows)


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize(("gamma", "alpha"), [(2.0, 0.25), (0.5, 0.6), (0.0, 0.5)])
def test_sigmoid_focal_loss(gamma, alpha, reduction):
    x = scores()
    found = sigmoid_focal_loss(x, TARGETS, gamma, alpha, None, reduction)
    wanted = plain_sigmoid(x, TARGETS, gamma, alpha)
    if reduction != "none":
        wanted = wanted.sum() / (len(x) if reduction == "mean" else 1)
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(
        torch.autograd.grad(found.sum(), x)[0], torch.autograd.grad(wanted.sum(), x)[0]
    )


def test_sigmoid_focal_loss_with_class_weights():
    x, target, weight = (
        scores(),
        TARGETS.clamp(0, 3),
        torch.tensor([1.0, 2, 3, 4], dtype=torch.float64),
    )
    found = sigmoid_focal_loss(x, target, 2.0, 0.25, weight, "none")
    wanted = plain_sigmoid(x, target, 2.0, 0.25) * weight[target][:, None]
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(
        torch.autograd.grad(found.sum(), x)[0], torch.autograd.grad(wanted.sum(), x)[0]
    )


def test_class_weights_do_not_cover_background():
    with pytest.raises(ValueError, match="2 targets are background or ignored"):
        sigmoid_focal_loss(scores(), TARGETS, 2.0, 0.25, torch.ones(4, dtype=torch.float64), "none")


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_saturated_scores_have_finite_gradients(gamma):
    x = torch.tensor([[200.0, -200.0], [-200.0, 200.0]], requires_grad=True)
    loss = sigmoid_focal_loss(x, torch.tensor([0, 0]), gamma, 0.25, None, "none")
    assert torch.isfinite(loss).all()
    assert torch.isfinite(torch.autograd.grad(loss.sum(), x)[0]).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_sigmoid_focal_loss_in_half_precision(dtype):
    x = scores(dtype)
    wide = x.detach().float().requires_grad_()
    found, wanted = (sigmoid_focal_loss(v, TARGETS, 2.0, 0.25, None, "none") for v in (x, wide))
    assert found.dtype == dtype
    torch.testing.assert_close(found.float(), wanted, rtol=1e-2, atol=1e-3)
    grads = (torch.autograd.grad(v.sum(), t)[0].float() for v, t in ((found, x), (wanted, wide)))
    torch.testing.assert_close(*grads, rtol=1e-2, atol=1e-3)


def test_no_anchors():
    x = torch.zeros(0, 4, requires_grad=True)
    loss = sigmoid_focal_loss(x, torch.zeros(0, dtype=torch.long), 2.0, 0.25, None, "sum")
    assert loss == 0
    assert torch.autograd.grad(loss, x)[0].shape == (0, 4)


@pytest.mark.parametrize(("gamma", "alpha"), [(2.0, 0.25), (0.5, 0.6)])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_softmax_focal_loss(gamma, alpha, reduction):
    target = torch.tensor([0, 3, 1, 2, -1, 2])
    x = scores()
    found = softmax_focal_loss(x, target, gamma, alpha, None, reduction)
    wanted = plain_softmax(x, target, gamma, alpha).sum() / (len(x) if reduction == "mean" else 1)
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(torch.autograd.grad(found, x)[0], torch.autograd.grad(wanted, x)[0])


def test_softmax_focal_loss_module_with_class_weights():
    target, weight = (
        torch.tensor([0, 3, 1, 2, 0, 2]),
        torch.tensor([1.0, 2, 3, 4], dtype=torch.float64),
    )
    x = scores()
    found = SoftmaxFocalLoss(2.0, 0.25, weight, "sum")(x, target)
    torch.testing.assert_close(found, (plain_softmax(x, target, 2.0, 0.25) * weight[target]).sum())
