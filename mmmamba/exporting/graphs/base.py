"""What is exported: a function of tensors alone, with names for its inputs and outputs."""

from typing import ClassVar

from torch import Tensor, nn

IMAGES = "images"
IMAGE_SIZES = "image_sizes"


class Graph(nn.Module):
    """From a batch of prepared images to final tensors, in operators that can be traced.

    `images` are `(B, C, H, W)`, normalised and padded as the model's data preprocessor leaves them;
    detectors also take `image_sizes`, `(B, 2)` int64, height and width without the padding.
    """

    task: ClassVar[str]
    """`backbone`, `detection`, `segmentation`, `saliency` or `classification`."""
    input_names: tuple[str, ...] = (IMAGES,)
    output_names: tuple[str, ...]

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """The outputs, in the order of their names."""
        raise NotImplementedError
