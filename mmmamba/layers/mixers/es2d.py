"""ES2D: a map shared out between the scans (EfficientVMamba, arXiv 2403.09977, section 3.2).

Shape suffixes as in `ss2d`; T steps of a route, padding included.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mmmamba.ops import expand_routes, gather_rows, route_table

from .ss2d import SS2D

SKIP = expand_routes("atrous")[0]


class ES2D(SS2D):
    """SS2D whose routes visit each position once between them: it costs one scan and not K.

    Positions are gathered into the K sequences before they are projected: each is projected for its
    own route alone. Arguments as those of `SS2D`.

    Raises:
        ValueError: routes that share a position, heads, or a merge.
    """

    def __init__(self, dim: int, routes: Sequence[str] = SKIP, **kwargs: Any):
        super().__init__(dim, routes=routes, **kwargs)
        if self.heads > 1 or self.multi_scan is not None:
            raise ValueError(
                f"ES2D takes no heads ({self.heads}) and no merge ({self.multi_scan}): each of its "
                "positions has one output of all channels"
            )
        # On the CPU also for a model built on the meta device, whose tensors cannot be counted.
        with torch.device("cpu"):
            # Odd sides that differ: such a map leaves rests at the edges, which each route has to
            # share out.
            visits = int((route_table(self.routes, 9, 11) >= 0).sum())
        if visits != 99:
            raise ValueError(
                f"routes {self.routes} share positions ({visits} visits to a map of 99): SS2D "
                "merges such routes, ES2D cannot"
            )

    def scan(self, x_BHWD: Tensor) -> Tensor:
        """Each position's one output, `(B, H, W, D)`, in the dtype of `s6.output_dtype`."""
        H, W = x_BHWD.shape[1:3]
        index_KT = route_table(self.routes, H, W, x_BHWD.device)
        K, T = index_KT.shape
        # A hole gathers a row of zeros: its B and C come out zero and its step size softplus(bias),
        # as in a scan that walks over holes.
        position_X = torch.where(index_KT < 0, H * W, index_KT).t().flatten()
        tokens_X = torch.arange(T * K, device=position_X.device)
        # Where each position stands among the tokens; the holes share one more place, which is
        # cut off.
        token_L = tokens_X.new_zeros(H * W + 1).scatter(0, position_X.long(), tokens_X)[: H * W]
        u_BXD = gather_rows(x_BHWD.flatten(1, 2), position_X, token_L[:, None])
        s6 = self.s6()
        u_BTKD = u_BXD.unflatten(1, (T, K))
        y_BTKD = s6.scan(u_BTKD, s6.project_each(u_BTKD), merge=False)
        y_BLD = gather_rows(y_BTKD.flatten(1, 2), token_L, position_X[:, None])
        return y_BLD.unflatten(1, (H, W))
