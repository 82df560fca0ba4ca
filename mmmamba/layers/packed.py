"""PyTorch's linear layer and convolution with the shorter ways of `mmmamba.ops.packed` on a CPU."""

from torch import Tensor, nn

from mmmamba.ops.packed import conv2d, linear


class Linear(nn.Linear):
    """`nn.Linear`, whose weight is laid out once for inference on a CPU."""

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight, self.bias)


class Conv2d(nn.Conv2d):
    """`nn.Conv2d` of one group, without dilation, padded with zeros; see `mmmamba.ops.packed`."""

    def _conv_forward(self, x_BCHW: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return conv2d(x_BCHW, weight, bias, self.stride, self.padding)  # type: ignore[arg-type]


def pack_plain_layers(model: nn.Module) -> None:
    """Make the model's linear layers and convolutions these, in place.

    By their class alone, as a mixer, or a block of torchvision's, need not know. Parameters, names
    and results stay.
    """
    for module in model.modules():
        # Not isinstance: a subclass computes something of its own.
        if type(module) is nn.Linear:
            module.__class__ = Linear
        elif type(module) is nn.Conv2d and _is_plain(module):
            module.__class__ = Conv2d


def _is_plain(conv: nn.Conv2d) -> bool:
    # Padding may be a word ("same").
    zeros = conv.padding_mode == "zeros" and not isinstance(conv.padding, str)
    return conv.groups == 1 and conv.dilation == (1, 1) and zeros
