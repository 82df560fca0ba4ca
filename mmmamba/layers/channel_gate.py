"""Channel gates: each channel weighed by what the whole map holds."""

from collections.abc import Sequence

from torch import Tensor, nn

from .norm import LayerNorm


class ChannelGate(nn.Module):
    """Squeeze-and-excitation (arXiv 1709.01507) of channels-last maps and sequences.

    `x * sigmoid(channel_select(act(global_reduce(mean(norm(x))))))`: the gate looks at the norm and
    multiplies what came.

    Args:
        dim: channels, the last dimension.
        reduction: the hidden width is `dim // reduction`.
        norm: look at the LayerNorm of the map (EfficientVMamba, LocalMamba), not at the map.
        bias: of both linear layers.
        act_layer: the activation between them.
        over: the dimensions of positions. Others, such as routes, are gated each apart with the
            same weights.

    Plain squeeze-and-excitation with 1x1 convolutions on channels-first maps is
    `torchvision.ops.SqueezeExcitation`.
    """

    def __init__(
        self,
        dim: int,
        reduction: int = 8,
        norm: bool = True,
        bias: bool = True,
        act_layer: type[nn.Module] = nn.GELU,
        over: Sequence[int] = (1, 2),
    ):
        super().__init__()
        # Not `feeds_linear`: a mean over the whole map follows, and under autocast it is taken of
        # float32.
        self.norm = LayerNorm(dim) if norm else nn.Identity()
        self.global_reduce = nn.Linear(dim, dim // reduction, bias=bias)
        self.act = act_layer()
        self.channel_select = nn.Linear(dim // reduction, dim, bias=bias)
        self.over = tuple(over)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weights(x)

    def weights(self, x: Tensor) -> Tensor:
        """The factors in (0, 1), in the dtype of `x` and of its shape, but 1 along `over`."""
        mean = self.norm(x).mean(self.over)
        gate = self.channel_select(self.act(self.global_reduce(mean))).sigmoid()
        # Back in front of the map: ascending, so that each place is where the mean took it from.
        for dim in sorted(self.over):
            gate = gate.unsqueeze(dim)
        return gate.to(x.dtype)

    def extra_repr(self) -> str:
        return f"over={self.over}"
