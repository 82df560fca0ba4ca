"""Networks that are asked for logits while another learns, and are never taught."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from mmpretrain.models import ClsDataPreprocessor
from torch import Tensor, nn

from mmmamba.errors import UsageError
from mmmamba.ops.autocast import no_autocast


class Asked:
    """A network beside a student, in evaluation, without gradients.

    It is no module: a student that holds it has nothing of it among its parameters, in its state
    dict or in its copies, which ask the same one.
    """

    def __init__(self, network: nn.Module):
        self.network = network

    def __deepcopy__(self, memo: dict[int, Any]) -> Asked:
        return self

    def __call__(self, images: Tensor) -> tuple[Tensor]:
        """The logits `(B, classes)` in float32, as the only one of a tuple."""
        with torch.no_grad():
            if self.network.training:
                self.network.eval()
            found = self.logits(images)
        if not isinstance(found, Tensor) or found.dim() != 2:
            raise UsageError(
                f"a {type(self.network).__name__} was asked for logits (B, classes) and gave a "
                f"{type(found).__name__}; a backbone gives them with classifier=True"
            )
        return (found.float(),)

    def logits(self, images: Tensor) -> Tensor:
        """What the network says."""
        return self.network(images)


class Average(Asked):
    """The average of a student's weights, in the precision that the student has now."""

    def logits(self, images: Tensor) -> Tensor:
        # Layers that lay out their weights for inference on a CPU tell later weights by a sample,
        # which a small step of an average may leave as it is: in training they lay out nothing.
        with torch.set_grad_enabled(images.device.type == "cpu"):
            return self.network(images)


@dataclass(frozen=True)
class Normalised:
    """How images are normalised: `(pixel - mean) / std` of values 0 to 255, channel by channel."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    rgb: bool = True

    @classmethod
    def by(cls, preprocessor: nn.Module) -> Normalised:
        """As a preprocessor of mmpretrain does it.

        Raises:
            UsageError: it is another, of which nothing is known.
        """
        if not isinstance(preprocessor, ClsDataPreprocessor):
            raise UsageError(
                f"the data_preprocessor is a {type(preprocessor).__name__}, wanted a "
                "ClsDataPreprocessor, whose mean and std say what a teacher is given"
            )
        if not preprocessor._enable_normalize:
            return cls((0.0,) * 3, (1.0,) * 3, preprocessor.to_rgb)
        mean, std = preprocessor.mean.flatten().tolist(), preprocessor.std.flatten().tolist()
        return cls(tuple(mean), tuple(std), preprocessor.to_rgb)


class Teacher(Asked):
    """A trained network of its own mean, std and size of images.

    It works in half precision on a GPU (bfloat16 autocast, float16 where the card has no bfloat16)
    and in float32 elsewhere, and goes where the images are.

    Args:
        network: gives logits `(B, classes)` of images.
        given: how the images that come are normalised.
        wanted: how the network wants them.
        size: height and width to which they are resized (bicubic); None leaves them.

    Raises:
        UsageError: images of other channels.
    """

    def __init__(
        self,
        network: nn.Module,
        given: Normalised,
        wanted: Normalised,
        size: Sequence[int] | None = None,
    ):
        super().__init__(network.eval().requires_grad_(False))
        if len(given.mean) != len(wanted.mean):
            raise UsageError(
                f"the teacher wants images of {len(wanted.mean)} channels, the student's have "
                f"{len(given.mean)}"
            )
        self.size = None if size is None else tuple(size)
        self.flips = given.rgb != wanted.rgb
        # In the order that the teacher wants.
        order = -1 if self.flips else 1
        std, mean = _column(given.std[::order]), _column(given.mean[::order])
        scale, shift = (x / _column(wanted.std) for x in (std, mean - _column(wanted.mean)))
        same = torch.allclose(scale, torch.ones_like(scale)) and torch.allclose(
            shift, torch.zeros_like(shift), atol=1e-6
        )
        self.renormalise = None if same else (scale.float(), shift.float())
        self._device: torch.device | None = None

    def __str__(self) -> str:
        millions = sum(p.numel() for p in self.network.parameters()) / 1e6
        said = [f"{millions:.1f} M parameters"]
        if self.renormalise is not None or self.flips:
            said.append("images normalised anew")
        if self.size is not None:
            said.append(f"images resized to {self.size[0]} x {self.size[1]}")
        return ", ".join(said)

    def logits(self, images: Tensor) -> Tensor:
        self._go_to(images.device)
        images = images.float()
        if self.flips:
            images = images.flip(1)
        if self.renormalise is not None:
            scale, shift = self.renormalise
            images = images * scale + shift
        if self.size is not None and images.shape[-2:] != self.size:
            images = F.interpolate(images, self.size, mode="bicubic", antialias=True)
        with _half_precision(images):
            return self.network(images)

    def _go_to(self, device: torch.device) -> None:
        if device == self._device:
            return
        self.network.to(device)
        if self.renormalise is not None:
            scale, shift = self.renormalise
            self.renormalise = scale.to(device), shift.to(device)
        self._device = device


def _column(numbers: Sequence[float]) -> Tensor:
    """Numbers for channels, `(C, 1, 1)`."""
    return torch.tensor(numbers, dtype=torch.float64)[:, None, None]


def _half_precision(images: Tensor) -> AbstractContextManager:
    if images.device.type != "cuda":
        return no_autocast(images)
    native = torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.autocast("cuda", torch.bfloat16 if native else torch.float16)
