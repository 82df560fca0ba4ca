"""S6 branches side by side, each with a convolution, projections, A and D of its own: base of Vim's kind of mixers.

Shape suffixes: B batch, L tokens, T steps, K branches, C width, D inner width, N states, R dt rank.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mmmamba.ops import selective_scan

from .ss2d import resolve_dt_rank
from .ssm_init import dt_bias, dt_weight, full_precision, s4d_real


class ScanBranches(nn.Module):
    """K branches between one projection in, to twice the inner width, and one out.

    Args:
        dim: width C.
        suffixes: what the names of each branch's parameters end in: `x_proj{suffix}`, `conv1d{suffix}`, …
        a_name: pattern of A's name.
        d_state, ssm_ratio, d_conv, dt_rank: N, D / C, taps of the causal convolution, R ("auto": ceil(C / 16)).
    """

    def __init__(
        self,
        dim: int,
        suffixes: Sequence[str],
        a_name: str = "A_log{}",
        d_state: int = 16,
        ssm_ratio: float = 2.0,
        d_conv: int = 4,
        dt_rank: int | str = "auto",
    ):
        super().__init__()
        D, R = int(dim * ssm_ratio), resolve_dt_rank(dt_rank, dim)
        self.suffixes = tuple(suffixes)
        self.a_name = a_name
        self.splits = (R, d_state, d_state)
        self.in_proj = nn.Linear(dim, 2 * D, bias=False)
        for suffix in self.suffixes:
            self.add_module(f"conv1d{suffix}", nn.Conv1d(D, D, d_conv, groups=D))
            self.add_module(f"x_proj{suffix}", nn.Linear(D, R + 2 * d_state, bias=False))
            dt_proj = nn.Linear(R, D)
            dt_proj.weight.data, dt_proj.bias.data = dt_weight(D, dt_rank=R), dt_bias(D)
            self.add_module(f"dt_proj{suffix}", dt_proj)
            self.register_parameter(
                a_name.format(suffix), nn.Parameter(s4d_real(D, d_state=d_state))
            )
            self.register_parameter(f"D{suffix}", nn.Parameter(torch.ones(D)))
        self.out_proj = nn.Linear(D, dim, bias=False)

    def each(self, pattern: str) -> list[Tensor]:
        """A parameter of every branch: `each("x_proj{}.weight")`."""
        return [self.get_parameter(pattern.format(suffix)) for suffix in self.suffixes]

    def scan(
        self,
        u_BLKD: Tensor,
        index: Tensor | None = None,
        index_complete: bool = False,
        merge: bool = True,
    ) -> Tensor:
        """The branches' scans of their own inputs, `(B, L, D)` merged by sum or `(B, L, K, D)`.

        Float32 for float16 inputs, whose sums could overflow.
        """
        u_KED = u_BLKD.flatten(0, 1).transpose(0, 1)
        x_proj_KDM = torch.stack(self.each("x_proj{}.weight")).transpose(1, 2)
        dt_proj_KRD = torch.stack(self.each("dt_proj{}.weight")).transpose(1, 2)
        rho_KER, B_KEN, C_KEN = torch.bmm(u_KED, x_proj_KDM).split(self.splits, -1)
        delta_KED = torch.bmm(rho_KER, dt_proj_KRD)
        delta_BLKD, B_BLKN, C_BLKN = (
            x.transpose(0, 1).unflatten(0, u_BLKD.shape[:2]) for x in (delta_KED, B_KEN, C_KEN)
        )
        A_KDN = -torch.exp(full_precision(torch.stack(self.each(self.a_name))))
        return selective_scan(
            u_BLKD,
            delta_BLKD,
            A_KDN,
            B_BLKN,
            C_BLKN,
            full_precision(torch.stack(self.each("D{}"))),
            index=index,
            delta_bias=full_precision(torch.stack(self.each("dt_proj{}.bias"))),
            delta_softplus=True,
            merge=merge,
            index_complete=index_complete,
            out_dtype=torch.float32 if delta_BLKD.dtype == torch.float16 else None,
        )
