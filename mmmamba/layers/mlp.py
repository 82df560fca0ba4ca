"""Feed-forward layers."""

from torch import Tensor, nn

from .activated import ActLinear


class Mlp(nn.Module):
    """Linear, activation, linear over the last dimension; the width grows by `mlp_ratio` between."""

    def __init__(self, dim: int, mlp_ratio: float = 4.0, act_layer: type[nn.Module] = nn.GELU):
        super().__init__()
        hidden = int(dim * mlp_ratio)
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = ActLinear(hidden, dim, act_layer())

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.fc1(x))
