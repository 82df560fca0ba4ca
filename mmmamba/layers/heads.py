"""What turns the last map, or a vector of it, into class scores."""

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


class PoolHead(nn.Module):
    """Mean over the map, linear (MedMamba). `(B, H, W, C)` to `(B, classes)`."""

    def __init__(self, dim: int, num_classes: int):
        super().__init__()
        self.head = nn.Linear(dim, num_classes)

    def forward(self, x_BHWC: Tensor) -> Tensor:
        return self.head(x_BHWC.mean((1, 2)))


class DistilledHeads(nn.Module):
    """The mean of the logits of two linear classifiers, one of which learnt from a teacher.

    (DeiT, arXiv 2012.12877.) `(B, …, C)` to `(B, classes)`, of one vector an image.
    """

    apart = False
    """Set by what has a teacher: while training, the logits of `head` and of `dist_head`."""

    def __init__(self, dim: int, num_classes: int):
        super().__init__()
        self.head = nn.Linear(dim, num_classes)
        self.dist_head = nn.Linear(dim, num_classes)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        x_BC = x.flatten(1)
        of_labels, of_teacher = self.head(x_BC), self.dist_head(x_BC)
        if self.apart and self.training:
            return of_labels, of_teacher
        return (of_labels + of_teacher) / 2
