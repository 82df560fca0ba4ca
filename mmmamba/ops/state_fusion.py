"""States of a scan joined with their neighbours on the map, then read out.

(Spatial-Mamba, arXiv 2410.15091, section 3.2.) Shape suffixes: B batch, H and W sides, D channels,
J kernels of 3x3, each with a dilation of its own.
"""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor


def fuse_states(
    h_BHWD: Tensor,
    kernels_JD33: Tensor,
    C_BHW: Tensor,
    dilations: Sequence[int] = (1, 3, 5),
    u_BHWD: Tensor | None = None,
    skip_D: Tensor | None = None,
) -> Tensor:
    """`C * f(h) + skip * u` in h's dtype, `f` the sum of depthwise convolutions of h.

    Beyond its borders a map is continued by its outermost cells.

    Args:
        h_BHWD: one state of each channel at each position.
        kernels_JD33: `(J, D, 3, 3)`.
        C_BHW: what a position reads states with.
        dilations: cells from one tap to the next, J of them.
        u_BHWD, skip_D: what is added; both or neither.

    Raises:
        ValueError: shapes that do not fit.
    """
    _check(h_BHWD, kernels_JD33, C_BHW, dilations, u_BHWD, skip_D)
    return _plain(h_BHWD, kernels_JD33, C_BHW, u_BHWD, skip_D, tuple(dilations))


def _check(h, kernels, C, dilations, u, skip) -> None:
    shape, channels = tuple(h.shape), h.shape[-1]
    wanted = (
        ("kernels_JD33", kernels, (len(dilations), channels, 3, 3)),
        ("C_BHW", C, shape[:-1]),
        ("u_BHWD", u, shape),
        ("skip_D", skip, (channels,)),
    )
    for name, x, want in wanted:
        if x is not None and tuple(x.shape) != want:
            raise ValueError(
                f"fuse_states: {name} is {tuple(x.shape)}, but states {shape} and dilations "
                f"{tuple(dilations)} ask for {want}"
            )
    if (u is None) != (skip is None):
        raise ValueError("fuse_states wants both u_BHWD and skip_D, or neither")


def _plain(
    h: Tensor,
    kernels: Tensor,
    C: Tensor,
    u: Tensor | None,
    skip: Tensor | None,
    dilations: tuple[int, ...],
) -> Tensor:
    h_BDHW = h.permute(0, 3, 1, 2)
    fused = None
    for kernel, s in zip(kernels.to(h.dtype), dilations):
        padded = F.pad(h_BDHW, (s, s, s, s), mode="replicate")
        one = F.conv2d(padded, kernel.unsqueeze(1), dilation=s, groups=len(kernel))
        fused = one if fused is None else fused + one
    y = C.unsqueeze(-1) * fused.permute(0, 2, 3, 1)
    return (y if u is None else y + skip * u).to(h.dtype)
