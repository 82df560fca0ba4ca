"""S6, the selective state space of Mamba, one for all mixers (arXiv 2312.00752, sections 3.2, 3.6).

Here are its starting values, the projection of the step sizes, B and C, the scan, and the precision
of both. A mixer keeps its parameters under the names and in the shapes of its authors' checkpoints
and hands them over as `S6`.

Shape suffixes: B batch, L positions, K routes, D channels of the map, G heads, E = D / G channels
of a route, N states, R dt rank, M = R + 2 N rows that project a route's inputs, X several of such
rows joined, P = B L.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmmamba.ops import projected_scan, selective_scan
from mmmamba.ops.aligned import filled
from mmmamba.ops.autocast import autocast_dtype, no_autocast
from mmmamba.ops.derivatives import unwatched
from mmmamba.ops.linear import linear
from mmmamba.ops.linear_each import block_diagonal, linear_each
from mmmamba.ops.selective_scan.joined import Separate, joined

from ..precision import full_precision

WIDEST = 768
"""Above this width one large product costs more than two skinny ones and their gradients."""


class Projected(NamedTuple):
    """What drives a scan, at every position for every route."""

    delta_BLKE: Tensor
    """Step sizes before bias and softplus."""
    B_BLKN: Tensor
    C_BLKN: Tensor


class S6(NamedTuple):
    """The parameters of K scans."""

    x_proj_KME: Tensor
    """Rows that make R numbers for the step sizes, then B, then C."""
    dt_proj_KER: Tensor
    dt_bias_KE: Tensor
    A_log_KEN: Tensor
    D_KE: Tensor

    @property
    def rank(self) -> int:
        """R."""
        return self.dt_proj_KER.shape[2]

    @property
    def splits(self) -> tuple[int, int, int]:
        """(R, N, N), the parts of M."""
        N = self.A_log_KEN.shape[2]
        return self.rank, N, N

    def project(self, x_BLD: Tensor, heads: int = 1) -> Projected:
        """What drives the scans of one map that all routes read.

        A projection acts on one position at a time, so it commutes with every route: the map is
        projected once, where it stands.

        Args:
            heads: groups of channels, each with K / G routes of its own.
        """
        if dense_pays(x_BLD, self.rank):
            return self._project_at_once(x_BLD, heads)
        # A head's routes read its slice of the channels alone: one product for each head, the rows
        # of its routes below each other.
        weight_GXE = self.x_proj_KME.unflatten(0, (heads, -1)).flatten(1, 2)
        projected = [
            F.linear(x_BLE, weight_XE)
            for x_BLE, weight_XE in zip(x_BLD.chunk(heads, -1), weight_GXE)
        ]
        joint = projected[0] if heads == 1 else torch.cat(projected, -1)
        return self._expand_rank(joint.unflatten(-1, (len(self.D_KE), -1)))

    def project_each(self, u_BLKE: Tensor) -> Projected:
        """What drives the scans of inputs that each route has of its own."""
        if dense_pays(u_BLKE, self.rank):
            return self._project_each_at_once(u_BLKE)
        return self._expand_rank(linear_each(u_BLKE, self.x_proj_KME))

    def _project_each_at_once(self, u_BLKE: Tensor) -> Projected:
        """`project_each` without the low-rank factor in between."""
        R, N, _ = self.splits
        down_KRE, BC_KXE = self.x_proj_KME.split((R, 2 * N), 1)
        # One product for a route's step sizes, B and C.
        joint_KXE = torch.cat([compose(self.dt_proj_KER, down_KRE), full_precision(BC_KXE)], 1)
        joint_BLKX = linear_each(u_BLKE, joint_KXE.to(u_BLKE.dtype))
        return Projected(*joint_BLKX.split((u_BLKE.shape[-1], N, N), -1))

    def _expand_rank(self, joint_BLKM: Tensor) -> Projected:
        """Step sizes from their R numbers, beside B and C."""
        rho_BLKR, B_BLKN, C_BLKN = joint_BLKM.split(self.splits, -1)
        # One route is a plain product, for which linear layers have the better kernels.
        if len(self.dt_proj_KER) == 1:
            delta_BLE = F.linear(rho_BLKR.squeeze(2), self.dt_proj_KER[0])
            return Projected(delta_BLE.unsqueeze(2), B_BLKN, C_BLKN)
        return Projected(linear_each(rho_BLKR, self.dt_proj_KER), B_BLKN, C_BLKN)

    def _project_at_once(self, x_BLD: Tensor, heads: int = 1) -> Projected:
        """`project` without the low-rank factor in between."""
        R, N, _ = self.splits
        routes = (len(self.D_KE), -1)
        down_KRE, BC_KXE = self.x_proj_KME.split((R, 2 * N), 1)
        step_KEE = compose(self.dt_proj_KER, down_KRE)
        if heads == 1:
            delta = linear(x_BLD, step_KEE.flatten(0, 1))
            BC = linear(x_BLD, BC_KXE.flatten(0, 1))
        else:
            # One product for all heads, which is zero where a head does not look: what B and C are
            # made of is too thin for one of its own.
            blocks = [_for_heads(rows, heads) for rows in (step_KEE, full_precision(BC_KXE))]
            joint = linear(x_BLD, torch.cat(blocks).to(x_BLD.dtype))
            delta, BC = joint.split([len(rows) for rows in blocks], -1)
        B_BLKN, C_BLKN = BC.unflatten(-1, routes).split(N, -1)
        return Projected(delta.unflatten(-1, routes), B_BLKN, C_BLKN)

    def scan(
        self,
        u: Tensor,
        projected: Projected,
        index: Tensor | None = None,
        index_complete: bool = False,
        merge: bool = True,
    ) -> Tensor:
        """The scans of `u`, `(B, L, E)` for all routes or `(B, L, K, E)`, as `selective_scan`.

        See `output_dtype` for the dtype of what returns.
        """
        delta_BLKE, B_BLKN, C_BLKN = projected
        # A, D and the bias in full precision also where a model was cast to half: states sum over a
        # whole map.
        return selective_scan(
            u,
            delta_BLKE,
            self._A_KEN(),
            B_BLKN,
            C_BLKN,
            full_precision(self.D_KE),
            index=index,
            delta_bias=full_precision(self.dt_bias_KE),
            delta_softplus=True,
            merge=merge,
            out_dtype=output_dtype(delta_BLKE.dtype),
            index_complete=index_complete,
        )

    def scan_projecting(
        self, x_BLD: Tensor, index: Tensor | None = None, index_complete: bool = False
    ) -> Tensor:
        """`scan` of `project`, merged, of one head: less is kept for the backward pass."""
        taken, weight, A_KEN = self.joined(x_BLD)
        return projected_scan(
            x_BLD,
            weight,
            A_KEN,
            full_precision(self.D_KE),
            index=index,
            delta_bias=full_precision(self.dt_bias_KE),
            # The step sizes are made inside: this is the dtype that they will have there.
            out_dtype=output_dtype(taken),
            index_complete=index_complete,
        )

    def joined(self, x_BLD: Tensor) -> tuple[torch.dtype, Tensor, Tensor]:
        """The dtype in which a scan takes the map, and there `Joined`'s weight; A.

        Rows of zeros fill the weight up to a multiple of 8.
        """
        # Also where a whole model was cast to half, and no autocast is on.
        taken = autocast_dtype(x_BLD) or x_BLD.dtype
        separate = Separate(self.x_proj_KME, self.dt_proj_KER, self.A_log_KEN)
        weight_XE, A_KEN = joined(separate, taken)
        return taken, filled(weight_XE), A_KEN

    def _A_KEN(self) -> Tensor:
        return -torch.exp(full_precision(self.A_log_KEN))


def _for_heads(weight_KXE: Tensor, heads: int) -> Tensor:
    """The weight `(K X, G E)` of all routes, each of its head's channels alone."""
    weight_GXE = weight_KXE.unflatten(0, (heads, -1)).flatten(1, 2)
    return block_diagonal(weight_GXE.unsqueeze(1))


def output_dtype(taken: torch.dtype) -> torch.dtype | None:
    """The dtype of a scan's output, by the dtype in which the scan takes its step sizes.

    Float16 ends at 65504, which a state that has summed a whole map, and a merge that sums the
    routes, can pass. So a float16 scan returns float32, and its mixer narrows that after whatever
    brings it back: a norm, a gate, a mean. None, the input's own dtype, for any other: bfloat16
    reaches as far as float32.
    """
    return torch.float32 if taken == torch.float16 else None


def dense_pays(x: Tensor, rank: int) -> bool:
    """Whether one full projection beats two through `rank` channels, on a GPU.

    The gradients of the skinny products reduce over all positions into a few columns, which no
    matrix kernel does well, and not at all on tensor cores where the rank is no multiple of 8: they
    were the largest cost of a training step.
    """
    return x.is_cuda and (rank % 8 != 0 or x.shape[-1] <= WIDEST)


def scan_projects(x: Tensor, rank: int) -> bool:
    """Whether the scan makes its step sizes itself, in training once more in the backward pass."""
    return dense_pays(x, rank) and unwatched(x)


def compose(up: Tensor, down: Tensor) -> Tensor:
    """The weight of two projections in one, `(…, D, R)` after `(…, R, E)`.

    In float32 also under autocast: rounding the product once more would change the step sizes.
    """
    with no_autocast(up):
        return full_precision(up) @ full_precision(down)


def resolve_dt_rank(dt_rank: int | str, dim: int) -> int:
    """The rank of the step size's projection; "auto" is a sixteenth of the width, rounded up.

    Raises:
        ValueError: neither "auto" nor a positive integer.
    """
    if dt_rank == "auto":
        return math.ceil(dim / 16)
    if not isinstance(dt_rank, int) or dt_rank < 1:
        raise ValueError(f"dt_rank is {dt_rank!r}, wanted 'auto' or a positive integer")
    return dt_rank


def s4d_real(*lead: int, d_state: int) -> Tensor:
    """The start of A's logarithm, A = -1 … -d_state for every channel (S4D, arXiv 2206.11893).

    Returns:
        `(*lead, d_state)`.
    """
    # Cloned, as an expanded row is one memory for all channels, in which no optimizer can step.
    A_N = torch.arange(1, d_state + 1, dtype=torch.float32)
    return torch.log(A_N).expand(*lead, d_state).clone()


def dt_weight(*lead: int, dt_rank: int) -> Tensor:
    """The start of the step sizes' projection, uniform in ±dt_rank^-0.5, `(*lead, dt_rank)`."""
    return torch.empty(*lead, dt_rank).uniform_(-(dt_rank**-0.5), dt_rank**-0.5)


def dt_bias(*shape: int, dt_min: float = 1e-3, dt_max: float = 0.1, floor: float = 1e-4) -> Tensor:
    """The start of the step sizes' bias: softplus of it is log-uniform in [dt_min, dt_max]."""
    dt = torch.exp(torch.empty(shape).uniform_(math.log(dt_min), math.log(dt_max))).clamp(min=floor)
    # Softplus turned round, log(exp(dt) - 1), in a form that keeps its digits where dt is small.
    return dt + torch.log(-torch.expm1(-dt))


def dt_projection(dt_rank: int, channels: int) -> nn.Linear:
    """The step sizes' projection as a layer, with Mamba's start."""
    layer = nn.Linear(dt_rank, channels)
    layer.weight.data = dt_weight(channels, dt_rank=dt_rank)
    layer.bias.data = dt_bias(channels)
    return layer
