"""Channel gates."""

from torch import Tensor, nn

from .norm import LayerNorm


class NormalizedGate(nn.Module):
    """A squeeze-and-excitation gate for channels-last maps that looks at the map's LayerNorm (EfficientVMamba).

    The gate multiplies the map as it came, not the normalised one.
    """

    def __init__(self, dim: int, reduction: int = 8):
        super().__init__()
        self.norm = LayerNorm(dim)
        self.global_reduce = nn.Linear(dim, dim // reduction)
        self.act = nn.GELU()
        self.channel_select = nn.Linear(dim // reduction, dim)

    def forward(self, x_BHWC: Tensor) -> Tensor:
        s_BC = self.norm(x_BHWC).mean((1, 2))
        gate_BC = self.channel_select(self.act(self.global_reduce(s_BC))).sigmoid()
        return x_BHWC * gate_BC[:, None, None]
