"""Stems for images of other channels than the three that published weights were trained on."""

import torch
from torch import Tensor, nn

COLOURS = 3


def is_stem(tensor: Tensor, wanted: Tensor, module: nn.Module) -> bool:
    """Whether a file's tensor is a convolution of colours where the module takes other channels."""
    channels = getattr(module, "in_channels", COLOURS)
    return (
        channels != COLOURS
        and tensor.dim() == wanted.dim() == 4
        and (tensor.shape[1], wanted.shape[1]) == (COLOURS, channels)
        and (tensor.shape[0], *tensor.shape[2:]) == (wanted.shape[0], *wanted.shape[2:])
    )


def fit_stem(weight_O3hw: Tensor, channels: int) -> Tensor | None:
    """The convolution for another number of channels; None of two, which are no colours.

    Of one channel it makes what it makes of three equal ones. Of more than three it makes what it
    makes of the first three, until it has learnt what the others say.
    """
    if channels == 1:
        return weight_O3hw.sum(1, keepdim=True)
    if channels < COLOURS:
        return None
    others = weight_O3hw.new_zeros(len(weight_O3hw), channels - COLOURS, *weight_O3hw.shape[2:])
    return torch.cat([weight_O3hw, others], 1)


def told(channels: int) -> str:
    """What became of a stem, or why nothing did."""
    if channels == 1:
        return "the stem's weights of red, green and blue are summed for one channel"
    if channels < COLOURS:
        return (
            f"in_channels={channels}: published stems take red, green and blue, and which of them "
            "two channels are is not known. Take in_channels=3 with an empty channel, or "
            "weights=None"
        )
    return (
        f"the stem takes its first {COLOURS} channels as red, green and blue; the other "
        f"{channels - COLOURS} begin at 0"
    )
