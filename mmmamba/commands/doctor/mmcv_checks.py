"""mmcv's operators, whoever answers for them, against what can be known without them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ...compat.extension import compiled_extension
from .checks import Check, leaves, run_check, with_gradients

HALF = (torch.float16, torch.bfloat16)
Run = Callable[[dict[str, Tensor]], dict[str, Tensor]]


class Case(NamedTuple):
    """An operator with inputs, what runs it, and what says the truth."""

    operator: str
    inputs: dict[str, Tensor]
    run: Run
    truth: Run


def check_mmcv_operators(device: torch.device) -> list[Check]:
    """NMS, RoIAlign, deformable convolution and focal loss, with gradients.

    A compiled mmcv is checked in float32 only: which half precisions it has depends on how it was
    built.
    """
    if compiled_extension() is not None:
        backend, dtypes = "compiled", (torch.float32,)
    else:
        backend, dtypes = "mmmamba.compat", (torch.float32, *HALF)
    checks = []
    for case in _cases():
        for dtype in dtypes:
            checks.append(_check(case, backend, device, dtype))
    return checks


def _check(case: Case, backend: str, device: torch.device, dtype: torch.dtype) -> Check:
    # Rounded first, for truth and operator alike: the error is the operator's own.
    rounded = {name: value.to(dtype) for name, value in case.inputs.items()}
    want = case.truth(leaves(rounded, torch.device("cpu"), torch.float64))

    def got() -> dict[str, Tensor]:
        return case.run(leaves(rounded, device))

    return run_check(case.operator, backend, device, dtype, got, want)


def _cases() -> list[Case]:
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    # The truth of each case is known without mmcv. A slope of 16 x 16 leaves no bin like another.
    rows, columns = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")
    slope = (rows + 2 * columns)[None, None] / 16
    boxes = torch.tensor([[0, 0, 10, 10], [20, 20, 30, 30], [1, 1, 11, 11], [0, 0, 10, 5]])
    maps = dict(x=draw(2, 4, 6, 7), weight=draw(3, 4, 3, 3))
    return [
        Case("nms", dict(boxes=boxes), _nms, _kept_boxes),
        Case("roi_align", dict(x=slope), _roi_align, _roi_align_of_a_slope),
        Case("modulated_deform_conv", maps, _deform_conv, _plain_conv),
        Case("sigmoid_focal_loss", dict(x=draw(6, 3)), _focal_loss, _plain_focal_loss),
    ]


def _nms(given: dict[str, Tensor]) -> dict[str, Tensor]:
    from mmcv.ops import nms

    # No gradients: NMS only chooses.
    boxes = given["boxes"].detach()
    scores = torch.tensor([0.9, 0.8, 0.7, 0.6], device=boxes.device, dtype=boxes.dtype)
    return {"kept": nms(boxes, scores, 0.6)[1]}


def _kept_boxes(_: dict[str, Tensor]) -> dict[str, Tensor]:
    """The third overlaps the first by 0.68, which is too much, the fourth by 0.5."""
    return {"kept": torch.tensor([0.0, 1.0, 3.0], dtype=torch.float64)}


def _roi_align(given: dict[str, Tensor]) -> dict[str, Tensor]:
    from mmcv.ops import roi_align

    x = given["x"]
    region = torch.tensor([[0.0, 4, 4, 12, 12]], device=x.device, dtype=x.dtype)
    return with_gradients(roi_align(x, region, (4, 4), 1.0, 2, "avg", True), given)


def _roi_align_of_a_slope(given: dict[str, Tensor]) -> dict[str, Tensor]:
    """The mean of four samples of each bin, by `F.grid_sample`."""
    # Bins of two pixels from pixel 4 on: their middles.
    middle = (torch.arange(4, dtype=torch.float64) + 0.5) * 2 + 4
    # They lie a quarter of the bin's side from its middle; pixel centres lie at halves, as
    # grid_sample's do.
    samples = []
    for dy, dx in product((-0.5, 0.5), (-0.5, 0.5)):
        samples.append(_sample(given["x"], middle + dy, middle + dx))
    return with_gradients(sum(samples) / 4, given)


def _sample(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    # From pixels of a side of 16 to grid_sample's -1 … 1.
    v, u = torch.meshgrid(rows / 8 - 1, columns / 8 - 1, indexing="ij")
    return F.grid_sample(x, torch.stack([u, v], -1)[None], align_corners=False)


def _deform_conv(given: dict[str, Tensor]) -> dict[str, Tensor]:
    from mmcv.ops import modulated_deform_conv2d

    x = given["x"]
    # For each of 3 x 3 taps two offsets and a weight.
    offset, mask = x.new_zeros(2, 18, 6, 7), x.new_ones(2, 9, 6, 7)
    y = modulated_deform_conv2d(x, offset, mask, given["weight"], None, 1, 1, 1, 1, 1)
    return with_gradients(y, given)


def _plain_conv(given: dict[str, Tensor]) -> dict[str, Tensor]:
    """Without offsets a deformable convolution is a convolution."""
    return with_gradients(F.conv2d(given["x"], given["weight"], padding=1), given)


# Three classes: 3 is the background.
TARGETS = torch.tensor([0, 1, 2, 3, 3, 1])


def _focal_loss(given: dict[str, Tensor]) -> dict[str, Tensor]:
    from mmcv.ops import sigmoid_focal_loss

    targets = TARGETS.to(given["x"].device)
    loss = sigmoid_focal_loss(given["x"], targets, 2.0, 0.25, None, "none")
    return with_gradients(loss, given)


def _plain_focal_loss(given: dict[str, Tensor]) -> dict[str, Tensor]:
    """Lin et al., arXiv 1708.02002, equation 5; the class behind the last is background."""
    p, hit = given["x"].sigmoid(), F.one_hot(TARGETS, 4)[:, :3].bool()
    loss = torch.where(hit, -0.25 * (1 - p) ** 2 * p.log(), -0.75 * p**2 * (1 - p).log())
    return with_gradients(loss, given)
