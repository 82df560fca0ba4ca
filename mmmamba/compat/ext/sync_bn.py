"""Batch normalisation in steps, between which mmcv's `SyncBatchNorm` averages over the processes.

Maps are (N, C, S); statistics, `norm` and `std` are float32.
"""

from torch import Tensor

from .precision import widen


def sync_bn_forward_mean(input: Tensor, mean: Tensor) -> None:
    """Writes the mean (C,) of this process's map."""
    (x_NCS,) = widen(input)
    mean.copy_(x_NCS.mean(dim=(0, 2)))


def sync_bn_forward_var(input: Tensor, mean: Tensor, var: Tensor) -> None:
    """Writes the mean square distance (C,) of this process's map from the mean of all."""
    (x_NCS,) = widen(input)
    var.copy_((x_NCS - mean[:, None]).square().mean(dim=(0, 2)))


def sync_bn_forward_output(
    input: Tensor,
    mean: Tensor,
    var: Tensor,
    weight: Tensor,
    bias: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    norm: Tensor,
    std: Tensor,
    output: Tensor,
    eps: float,
    momentum: Tensor | float,
    group_size: int,
) -> None:
    """Writes `std`, `norm` and `output`, and moves the running statistics.

    The running variance is the unbiased one of `group_size` maps like this one.
    """
    (x_NCS,) = widen(input)
    std.copy_((var + eps).sqrt())
    norm.copy_((x_NCS - mean[:, None]) / std[:, None])
    output.copy_(norm * weight[:, None] + bias[:, None])
    if running_mean is None or running_var is None:
        return
    count = x_NCS.shape[0] * x_NCS.shape[2] * group_size
    unbiased = var * count / (count - 1) if count > 1 else var
    for running, batch in ((running_mean, mean), (running_var, unbiased)):
        running += momentum * (batch - running)


def sync_bn_backward_param(
    grad_output: Tensor, norm: Tensor, grad_weight: Tensor, grad_bias: Tensor
) -> None:
    """Adds to `grad_weight` and `grad_bias` (C,)."""
    (grad_NCS,) = widen(grad_output)
    grad_weight += (grad_NCS * norm).sum(dim=(0, 2)).to(grad_weight.dtype)
    grad_bias += grad_NCS.sum(dim=(0, 2)).to(grad_bias.dtype)


def sync_bn_backward_data(
    grad_output: Tensor,
    weight: Tensor,
    grad_weight: Tensor,
    grad_bias: Tensor,
    norm: Tensor,
    std: Tensor,
    grad_input: Tensor,
) -> None:
    """Adds to `grad_input`, with the parameters' gradients averaged over the processes."""
    (grad_NCS,) = widen(grad_output)
    count = grad_NCS.shape[0] * grad_NCS.shape[2]
    # What every position gives back through the mean and the variance that it took part in.
    shared_NCS = (grad_bias[:, None] + norm * grad_weight[:, None]) / count
    grad_input += ((grad_NCS - shared_NCS) * (weight / std)[:, None]).to(grad_input.dtype)
