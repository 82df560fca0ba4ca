"""What turns the last map into class scores."""

from torch import Tensor, nn

from .norm import LayerNorm


class NormPoolHead(nn.Module):
    """LayerNorm, mean over the map, linear, in this order (VMamba, LocalVMamba).

    `(B, H, W, C)` to `(B, classes)`.
    """

    def __init__(self, dim: int, num_classes: int):
        super().__init__()
        self.norm = LayerNorm(dim)
        self.head = nn.Linear(dim, num_classes)

    def forward(self, x_BHWC: Tensor) -> Tensor:
        return self.head(self.norm(x_BHWC).mean((1, 2)))
