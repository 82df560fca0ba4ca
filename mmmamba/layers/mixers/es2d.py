"""ES2D: a map shared out between the scans (EfficientVMamba, arXiv 2403.09977, section 3.2).

Shape suffixes as in `ss2d`; T steps of a route, padding included.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mmmamba.ops import expand_routes, route_table, selective_scan

from .ss2d import SS2D
from .ssm_init import full_precision

SKIP = expand_routes("atrous")[0]


class ES2D(SS2D):
    """SS2D whose routes visit each position once between them, so that a position costs one scan and not K.

    Positions are gathered into the K sequences before they are projected: each is projected for its own route alone.
    Arguments as those of `SS2D`.

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
        with torch.device("cpu"):  # also for a model built on the meta device
            visits = int((route_table(self.routes, 9, 11) >= 0).sum())
        if visits != 99:
            raise ValueError(
                f"routes {self.routes} share positions ({visits} visits to a map of 99): SS2D merges "
                "such routes, ES2D cannot"
            )

    def project(self, u_BTKD: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Step sizes before softplus `(B, T, K, D)`, B and C `(B, T, K, N)`, each token for its own route."""
        shape = u_BTKD.shape[:2]
        rho_KER = torch.bmm(
            u_BTKD.flatten(0, 1).transpose(0, 1), self.x_proj_weight.transpose(1, 2)
        )
        delta_KED = torch.bmm(rho_KER[..., : self.splits[0]], self.dt_projs_weight.transpose(1, 2))
        _, B_BTKN, C_BTKN = rho_KER.unflatten(1, shape).permute(1, 2, 0, 3).split(self.splits, -1)
        return delta_KED.unflatten(1, shape).permute(1, 2, 0, 3), B_BTKN, C_BTKN

    def scan(self, x_BHWD: Tensor) -> Tensor:
        """Each position's one output, `(B, H, W, D)`; float32 for float16 maps, whose sums could overflow."""
        H, W, D = x_BHWD.shape[1:]
        index_KT = route_table(self.routes, H, W, x_BHWD.device)
        K, T = index_KT.shape
        # A hole gathers a row of zeros: its B and C come out zero and its step size softplus(bias), as in the scan.
        position_E = torch.where(index_KT < 0, H * W, index_KT).t().flatten()
        u_BTKD = (
            F.pad(x_BHWD.flatten(1, 2), (0, 0, 0, 1))
            .index_select(1, position_E)
            .unflatten(1, (T, K))
        )
        delta_BTKD, B_BTKN, C_BTKN = self.project(u_BTKD)
        y_BTKD = selective_scan(
            u_BTKD,
            delta_BTKD,
            -torch.exp(full_precision(self.A_logs)).view(K, D, -1),
            B_BTKN,
            C_BTKN,
            full_precision(self.Ds).view(K, D),
            delta_bias=full_precision(self.dt_projs_bias),
            delta_softplus=True,
            merge=False,
            out_dtype=torch.float32 if delta_BTKD.dtype == torch.float16 else None,
        )
        tokens_E = torch.arange(T * K, device=position_E.device)
        # Where each position stands among the tokens; the holes share one more place, which is cut off.
        token_L = tokens_E.new_zeros(H * W + 1).scatter(0, position_E.long(), tokens_E)[: H * W]
        return y_BTKD.flatten(1, 2).index_select(1, token_L).unflatten(1, (H, W))
