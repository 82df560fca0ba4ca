"""A batch as one-stage heads take it: levels in one row, ground truths in one tensor.

Nothing here reads from the GPU. Shape suffixes: B images, P priors over all levels, C channels, G
ground truths of the image with most of them.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from mmdet.models.task_modules.prior_generators import MlvlPointGenerator
from mmengine.structures import InstanceData
from torch import Tensor

from mmmamba.layers.precision import full_precision

MOST_PAIRS = 2**25
"""Priors times ground truths assigned at once: some ten tensors of so many numbers are held."""

MOST_SIZES = 64
"""Map sizes whose priors are kept, a few hundred KiB each."""

GTS = 8
"""Ground truths are filled up to a multiple of so many: memory of one batch then fits another."""

Parts = TypeVar("Parts", bound=tuple)


def in_one_row(maps: Sequence[Tensor]) -> Tensor:
    """`(B, C, H, W)` of each level to `(B, P, C)` in full precision."""
    return full_precision(torch.cat([level.flatten(2).transpose(1, 2) for level in maps], dim=1))


class PriorCache:
    """Centres of cells and strides of maps of any sizes, made once for each.

    To make them takes a dozen kernels and as many waits for the GPU.
    """

    def __init__(self, generator: MlvlPointGenerator):
        self.generator = generator
        self.made: dict[tuple, Tensor] = {}

    def __call__(self, maps: Sequence[Tensor], like: Tensor) -> Tensor:
        """`(P, 4)`: x, y and the stride, twice, with the precision and on the device of `like`."""
        sizes = [tuple(level.shape[-2:]) for level in maps]
        if torch.compiler.is_exporting():
            # In the graph: a tensor made while tracing is no tensor, and sizes may be symbols.
            return self._make(sizes, like)
        key = (like.device, like.dtype, *sizes)
        if key not in self.made:
            if len(self.made) == MOST_SIZES:
                self.made.clear()
            # They serve in training too, where tensors made in inference mode cannot.
            with torch.inference_mode(False):
                self.made[key] = self._make(sizes, like)
        return self.made[key]

    def _make(self, sizes: list[tuple], like: Tensor) -> Tensor:
        return torch.cat(
            self.generator.grid_priors(sizes, like.dtype, like.device, with_stride=True)
        )


def boxes_of(priors_P4: Tensor, distances_BP4: Tensor) -> Tensor:
    """Corners of boxes `(B, P, 4)` by the distances of priors' centres to their sides."""
    points_P2 = priors_P4[:, :2]
    before_BP2, behind_BP2 = distances_BP4.split(2, dim=-1)
    return torch.cat([points_P2 - before_BP2, points_P2 + behind_BP2], dim=-1)


def distances_of(priors_P4: Tensor, boxes_BP4: Tensor) -> Tensor:
    """The distances of priors' centres to the sides of boxes."""
    points_P2 = priors_P4[:, :2]
    first_BP2, last_BP2 = boxes_BP4.split(2, dim=-1)
    return torch.cat([points_P2 - first_BP2, last_BP2 - points_P2], dim=-1)


class Truth(NamedTuple):
    """Ground truths of each image; those with fewer are filled up with boxes of zeros."""

    boxes_BG4: Tensor
    labels_BG: Tensor
    given_BG: Tensor
    """False for what only fills an image up."""


def pad_truth(found: Sequence[InstanceData], like: Tensor) -> Truth:
    """Ground truths of all images, some places at least for each, with the precision of `like`.

    In as many kernels for any number of images and boxes.
    """
    counts = np.array([len(one) for one in found])
    total = counts.sum()
    place_G = np.arange(max(-(-counts.max() // GTS), 1) * GTS)
    first_B1 = (counts.cumsum() - counts)[:, None]
    # In the row of all boxes, where what fills an image up points at one more.
    index_BG = np.where(place_G < counts[:, None], first_B1 + place_G, total)
    index = torch.from_numpy(index_BG).to(like.device, non_blocking=True)
    first = found[0]
    boxes = torch.cat([*(one.bboxes for one in found), first.bboxes.new_zeros(1, 4)])
    labels = torch.cat([*(one.labels for one in found), first.labels.new_zeros(1)])
    return Truth(
        boxes_BG4=boxes.to(like.dtype)[index],
        labels_BG=labels.long()[index],
        given_BG=index < int(total),
    )


def pick(values_BNC: Tensor, index_BK: Tensor) -> Tensor:
    """Rows of values `(B, N, C)` at an index: `(B, K, C)`."""
    return values_BNC.gather(1, index_BK[..., None].expand(-1, -1, values_BNC.shape[2]))


def image_numbers(rows: Sequence[Sequence[float]], like: Tensor) -> Tensor:
    """Numbers of each image on the device of `like`, by one copy that is not waited for."""
    return torch.tensor(rows, dtype=like.dtype).to(like.device, non_blocking=True)


def by_images(assign: Callable[..., Parts], pairs: int, *tensors: Tensor) -> Parts:
    """What `assign` makes of the images of a batch, a few at a time where they fill the memory.

    Args:
        assign: gives a `NamedTuple` of tensors.
        pairs: of priors and ground truths in an image.
        tensors: what it takes, images along the first axis.
    """
    step = max(MOST_PAIRS // max(pairs, 1), 1)
    if step >= len(tensors[0]):
        return assign(*tensors)
    pieces = zip(*(tensor.split(step) for tensor in tensors))
    parts = [assign(*piece) for piece in pieces]
    return type(parts[0])(*map(torch.cat, zip(*parts)))
