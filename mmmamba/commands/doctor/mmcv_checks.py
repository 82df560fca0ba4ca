"""mmcv's operators, whoever answers for them, against what can be known without them."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from ...compat.extension import compiled_extension
from .checks import Check, leaves, run_check, with_gradients

HALF = (torch.float16, torch.bfloat16)
Run = Callable[[dict[str, Tensor]], dict[str, Tensor]]


def check_mmcv_operators(device: torch.device) -> list[Check]:
    """NMS, RoIAlign, deformable convolution and focal loss, with gradients.

    A compiled mmcv is checked in float32 only: which half precisions it has depends on how it was built.
    """
    compiled = compiled_extension() is not None
    backend, dtypes = (
        ("compiled", (torch.float32,)) if compiled else ("mmmamba.compat", (torch.float32, *HALF))
    )
    checks = []
    for name, (inputs, run, truth) in _cases().items():
        for dtype in dtypes:
            rounded = {key: value.to(dtype) for key, value in inputs.items()}
            want = truth(leaves(rounded, torch.device("cpu"), torch.float64))
            checks.append(
                run_check(
                    name,
                    backend,
                    device,
                    dtype,
                    lambda r=rounded, f=run: f(leaves(r, device)),
                    want,
                )
            )
    return checks


def _cases() -> dict[str, tuple[dict[str, Tensor], Run, Run]]:
    """For each operator: inputs, what runs it, what says the truth."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    rows, columns = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")
    boxes = torch.tensor([[0, 0, 10, 10], [20, 20, 30, 30], [1, 1, 11, 11], [0, 0, 10, 5]])
    return {
        "nms": (
            dict(boxes=boxes),
            _nms,
            lambda x: {"kept": torch.tensor([0.0, 1.0, 3.0], dtype=torch.float64)},
        ),
        "roi_align": (
            dict(x=(rows + 2 * columns)[None, None] / 16),
            _roi_align,
            _roi_align_of_a_slope,
        ),
        "modulated_deform_conv": (
            dict(x=draw(2, 4, 6, 7), weight=draw(3, 4, 3, 3)),
            _deform_conv,
            _plain_conv,
        ),
        "sigmoid_focal_loss": (dict(x=draw(6, 3)), _focal_loss, _plain_focal_loss),
    }


def _nms(given: dict[str, Tensor]) -> dict[str, Tensor]:
    from mmcv.ops import nms

    boxes = given["boxes"].detach()
    # The third overlaps the first by 0.68, the fourth by 0.5.
    return {
        "kept": nms(
            boxes, torch.tensor([0.9, 0.8, 0.7, 0.6], device=boxes.device, dtype=boxes.dtype), 0.6
        )[1]
    }


def _roi_align(given: dict[str, Tensor]) -> dict[str, Tensor]:
    from mmcv.ops import roi_align

    x = given["x"]
    region = torch.tensor([[0.0, 4, 4, 12, 12]], device=x.device, dtype=x.dtype)
    return with_gradients(roi_align(x, region, (4, 4), 1.0, 2, "avg", True), given)


def _roi_align_of_a_slope(given: dict[str, Tensor]) -> dict[str, Tensor]:
    """On a slope the mean of a bin is the value in its middle: bilinear sampling there, by `F.grid_sample`."""
    middle = (torch.arange(4, dtype=torch.float64) + 0.5) * 2 + 4
    # Four samples of each bin lie a quarter of its side from the middle; pixel centres lie at halves, as grid_sample's.
    y = (
        sum(
            _sample(given["x"], middle + dy, middle + dx)
            for dy in (-0.5, 0.5)
            for dx in (-0.5, 0.5)
        )
        / 4
    )
    return with_gradients(y, given)


def _sample(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    v, u = torch.meshgrid(rows / 8 - 1, columns / 8 - 1, indexing="ij")
    return F.grid_sample(x, torch.stack([u, v], -1)[None], align_corners=False)


def _deform_conv(given: dict[str, Tensor]) -> dict[str, Tensor]:
    from mmcv.ops import modulated_deform_conv2d

    x = given["x"]
    offset, mask = x.new_zeros(2, 18, 6, 7), x.new_ones(2, 9, 6, 7)
    return with_gradients(
        modulated_deform_conv2d(x, offset, mask, given["weight"], None, 1, 1, 1, 1, 1), given
    )


def _plain_conv(given: dict[str, Tensor]) -> dict[str, Tensor]:
    """Without offsets a deformable convolution is a convolution."""
    return with_gradients(F.conv2d(given["x"], given["weight"], padding=1), given)


TARGETS = torch.tensor([0, 1, 2, 3, 3, 1])


def _focal_loss(given: dict[str, Tensor]) -> dict[str, Tensor]:
    from mmcv.ops import sigmoid_focal_loss

    return with_gradients(
        sigmoid_focal_loss(given["x"], TARGETS.to(given["x"].device), 2.0, 0.25, None, "none"),
        given,
    )


def _plain_focal_loss(given: dict[str, Tensor]) -> dict[str, Tensor]:
    """Lin et al., arXiv 1708.02002, equation 5; the class behind the last is background."""
    p, hit = given["x"].sigmoid(), F.one_hot(TARGETS, 4)[:, :3].bool()
    loss = torch.where(hit, -0.25 * (1 - p) ** 2 * p.log(), -0.75 * p**2 * (1 - p).log())
    return with_gradients(loss, given)
