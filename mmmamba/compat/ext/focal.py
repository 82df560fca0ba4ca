"""Focal loss (Lin et al. 2017, eq. 5) of sigmoid and of softmax scores.

Targets are class indices.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from .precision import widen


def _class_weight(weight: Tensor, target_N: Tensor, classes: int, operator: str) -> Tensor | float:
    """Weight (N, 1) of each target's class; mmcv passes an empty tensor for none.

    Raises:
        ValueError: a target has no weight, because it is background or ignored.
    """
    if weight.numel() == 0:
        return 1.0
    outside = (target_N < 0) | (target_N >= classes)
    if bool(outside.any()):
        raise ValueError(
            f"{operator}: class weights were given for {classes} classes, but "
            f"{int(outside.sum())} targets are background or ignored (outside 0..{classes - 1}) "
            "and have none; weight the loss afterwards instead"
        )
    return weight[target_N][:, None]


def _sigmoid_terms(x_NC: Tensor, target_N: Tensor, alpha: float) -> tuple[Tensor, Tensor, Tensor]:
    """Sign y (+1 for the target's class), log p_t and alpha_t, each (N, C).

    Other targets are all negative.
    """
    positive_NC = target_N[:, None] == torch.arange(x_NC.shape[1], device=x_NC.device)
    sign_NC = positive_NC.to(x_NC.dtype) * 2 - 1
    alpha_NC = torch.where(positive_NC, alpha, 1 - alpha).to(x_NC.dtype)
    return sign_NC, F.logsigmoid(sign_NC * x_NC), alpha_NC


def sigmoid_focal_loss_forward(
    input: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float
) -> None:
    """Writes the loss (N, C) to `output`; a target outside 0..C-1 makes every class negative."""
    x_NC, weight_C = widen(input, weight)
    _, log_pt_NC, alpha_NC = _sigmoid_terms(x_NC, target, alpha)
    # 1 - p_t by `expm1`, which keeps its digits where p_t is next to 1.
    loss_NC = -alpha_NC * (-log_pt_NC.expm1()) ** gamma * log_pt_NC
    output.copy_(loss_NC * _class_weight(weight_C, target, x_NC.shape[1], "sigmoid_focal_loss"))


def sigmoid_focal_loss_backward(
    input: Tensor, target: Tensor, weight: Tensor, grad_input: Tensor, gamma: float, alpha: float
) -> None:
    """Adds d loss / d input (Lin et al. 2017, appendix B) to `grad_input`.

    Finite for every gamma and score.
    """
    x_NC, weight_C = widen(input, weight)
    sign_NC, log_pt_NC, alpha_NC = _sigmoid_terms(x_NC, target, alpha)
    pt_NC, rest_NC = log_pt_NC.exp(), -log_pt_NC.expm1()
    grad_NC = alpha_NC * sign_NC * rest_NC**gamma * (gamma * pt_NC * log_pt_NC - rest_NC)
    weight = _class_weight(weight_C, target, x_NC.shape[1], "sigmoid_focal_loss")
    grad_input += (grad_NC * weight).to(grad_input.dtype)


def _softmax_terms(p_NC: Tensor, target_N: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Probability of the target's class (N,), its logarithm, and which targets count.

    Negative ones do not.
    """
    valid_N = target_N >= 0
    p_N = p_NC.gather(1, target_N.clamp(min=0)[:, None])[:, 0]
    # Cut off at the smallest normal number: p = 0 gives a large loss, not an infinite one.
    return p_N, p_N.clamp(min=torch.finfo(p_N.dtype).tiny).log(), valid_N


def softmax_focal_loss_forward(
    input_softmax: Tensor,
    target: Tensor,
    weight: Tensor,
    output: Tensor,
    gamma: float,
    alpha: float,
) -> None:
    """Writes -alpha (1 - p)^gamma log p (N,) to `output`; 0 where the target is negative."""
    p_NC, weight_C = widen(input_softmax, weight)
    p_N, log_p_N, valid_N = _softmax_terms(p_NC, target)
    loss_N1 = (-alpha * (1 - p_N) ** gamma * log_p_N * valid_N)[:, None]
    weight = _class_weight(weight_C, target, p_NC.shape[1], "softmax_focal_loss")
    output.copy_((loss_N1 * weight)[:, 0])


def softmax_focal_loss_backward(
    input_softmax: Tensor,
    target: Tensor,
    weight: Tensor,
    buff: Tensor,
    grad_input: Tensor,
    gamma: float,
    alpha: float,
) -> None:
    """Adds d loss / d logits (N, C) to `grad_input`; `buff` is mmcv's scratch, unused."""
    p_NC, weight_C = widen(input_softmax, weight)
    p_N, log_p_N, valid_N = _softmax_terms(p_NC, target)
    rest_N = 1 - p_N
    # At p = 1 the power has no finite derivative for gamma < 1, but its factor log p is 0.
    slope_N = torch.where(rest_N > 0, gamma * rest_N ** (gamma - 1) * p_N * log_p_N, 0)
    scale_N1 = (alpha * (slope_N - rest_N**gamma) * valid_N)[:, None]
    # What is ignored stands as class 0 here; `valid_N` has made its scale 0.
    onehot_NC = F.one_hot(target.clamp(min=0), p_NC.shape[1])
    weight = _class_weight(weight_C, target, p_NC.shape[1], "softmax_focal_loss")
    grad_NC = scale_N1 * (onehot_NC - p_NC) * weight
    grad_input += grad_NC.to(grad_input.dtype)
