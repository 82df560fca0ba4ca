"""RSMamba's mixer (arXiv 2403.19654, section II): one scan over several orders of a sequence.

Shape suffixes: B batch, L tokens, K orders, X = L K steps of all, C width, D inner width.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmmamba.ops import gather_rows

from ..drop_path import drop_path
from ..precision import full_precision
from ..tokens import TokenLayout
from ..walk import MapWalk
from .s6 import S6, Projected, dt_projection, resolve_dt_rank, s4d_real

ORDERS = ("row", "row_reversed", "shuffled")
PRIME = 2**31 - 1


class OrderMixer(nn.Module):
    """One Mamba over a sequence as it is, reversed and shuffled, and the mix of what comes back.

    `(B, L, C)` to the same. All orders share all weights; each begins from a zero state.

    Args:
        dim: width C.
        orders: how many of forward, reversed, shuffled, in this order.
        gate: weigh each order by a linear layer and softmax of the means of all, image by image;
            else take their mean.
        shuffle: which of the fixed shuffles; None draws one at every call, in evaluation too. In
            training it is always drawn, by PyTorch's generator, which a resumed run goes on with.
        d_state, ssm_ratio, d_conv, dt_rank: of the scan and the causal convolution.
        mamba_start: start the step sizes as Mamba does; else as any linear layer.
        drop_path_rate: of what is returned.
    """

    def __init__(
        self,
        dim: int,
        orders: int = 3,
        gate: bool = True,
        shuffle: int | None = 0,
        d_state: int = 16,
        ssm_ratio: float = 2.0,
        d_conv: int = 4,
        dt_rank: int | str = "auto",
        mamba_start: bool = True,
        drop_path_rate: float = 0.0,
    ):
        super().__init__()
        D, R = int(dim * ssm_ratio), resolve_dt_rank(dt_rank, dim)
        self.orders, self.shuffle = orders, shuffle
        self.in_proj = nn.Linear(dim, 2 * D, bias=False)
        self.conv1d = nn.Conv1d(D, D, d_conv, groups=D)
        self.x_proj = nn.Linear(D, R + 2 * d_state, bias=False)
        self.dt_proj = dt_projection(R, D) if mamba_start else nn.Linear(R, D)
        self.A_log = nn.Parameter(s4d_real(D, d_state=d_state))
        self.D = nn.Parameter(torch.ones(D))
        self.out_proj = nn.Linear(D, dim, bias=False)
        self.gate = nn.Linear(orders * dim, orders, bias=False) if gate else None
        self.drop_path = drop_path(drop_path_rate)

    def forward(self, x_BLC: Tensor, layout: TokenLayout | None = None) -> Tensor:
        """`layout` changes nothing: the mixer knows no second dimension."""
        # What acts on one token at a time does so once, for all orders.
        x_BLD, z_BLD = self.in_proj(x_BLC).chunk(2, -1)
        order_KL = self.order(x_BLC.shape[1], x_BLC.device)
        y_BLKD = self.scan_in(order_KL, x_BLD) * F.silu(z_BLD)[:, :, None]
        return self.drop_path(self.out_proj(self.mixed(y_BLKD).to(z_BLD.dtype)))

    def order(self, length: int, device: torch.device) -> Tensor:
        """The tokens that each order reads, `(K, L)`."""
        token_L = torch.arange(length, device=device)
        found = [token_L, token_L.flip(0)]
        if self.orders > 2:
            found.append(self._shuffled(token_L))
        return torch.stack(found[: self.orders])

    def _shuffled(self, token_L: Tensor) -> Tensor:
        if self.training or self.shuffle is None:
            return torch.rand(len(token_L), device=token_L.device).argsort()
        # By arithmetic, the same on all devices and in files: no generator, nothing kept.
        key_L = token_L + 65537 * (self.shuffle + 1)
        for _ in range(3):
            key_L = (key_L * key_L % PRIME * 48271 + key_L + 11) % PRIME
        # No two alike.
        return (key_L * token_L.shape[0] + token_L).argsort()

    def scan_in(self, order_KL: Tensor, x_BLD: Tensor) -> Tensor:
        """Convolution and scan in each order, put back in place: `(B, L, K, D)`."""
        K, L = order_KL.shape
        orders_K1 = torch.arange(K, device=order_KL.device)[:, None]
        # Steps lie step by step and, within one, order by order; so do tokens.
        step_LK = (order_KL.argsort(-1) * K + orders_K1).t()
        place_X = (order_KL * K + orders_K1).t().flatten()
        u_BXD = gather_rows(x_BLD, order_KL.t().flatten(), step_LK)
        y_BLKD = self.scan(self.convolve(u_BXD.unflatten(1, (L, K))))
        y_BXD = gather_rows(y_BLKD.flatten(1, 2), step_LK.flatten(), place_X[:, None])
        return y_BXD.unflatten(1, (L, K))

    def convolve(self, u_BLKD: Tensor) -> Tensor:
        """SiLU of the causal convolution along each order, all as one of E = K D channels."""
        L, K = u_BLKD.shape[1:3]
        weight_D1W, bias_D = self.conv1d.weight, self.conv1d.bias
        # For the type checker: it is made with a bias.
        assert bias_D is not None
        weight_E1W, bias_E = weight_D1W.repeat(K, 1, 1), bias_D.repeat(K)
        # On both sides; what looks ahead is cut off.
        pad = weight_E1W.shape[-1] - 1
        u_BEL = u_BLKD.flatten(2).transpose(1, 2)
        u_BEL = F.conv1d(u_BEL, weight_E1W, bias_E, padding=pad, groups=len(bias_E))
        return F.silu(u_BEL[..., :L].transpose(1, 2).unflatten(-1, (K, -1)))

    def scan(self, u_BLKD: Tensor) -> Tensor:
        """The scan of each order, `(B, L, K, D)`, in the dtype of `s6.output_dtype`."""
        L, K = u_BLKD.shape[1:3]
        one = S6(
            self.x_proj.weight[None],
            self.dt_proj.weight[None],
            self.dt_proj.bias[None],
            self.A_log[None],
            self.D[None],
        )
        # All orders share the projections: for these they are one long sequence.
        projected = one.project(u_BLKD.flatten(1, 2))
        each = [given.unflatten(1, (L, K)).squeeze(3) for given in projected]
        shared = S6(*(parameter.expand(K, *parameter.shape[1:]) for parameter in one))
        return shared.scan(u_BLKD, Projected(*each), merge=False)

    def mixed(self, y_BLKD: Tensor) -> Tensor:
        """All orders as one, `(B, L, D)`, before the projection out."""
        if self.gate is None:
            return y_BLKD.mean(2)
        # The gate reads the projected orders' means: those of a linear layer are its of the means.
        mean_BKD = y_BLKD.mean(1).to(self.out_proj.weight.dtype)
        share_BK = full_precision(self.gate(self.out_proj(mean_BKD).flatten(1))).softmax(-1)
        return (y_BLKD * share_BK[:, None, :, None].to(y_BLKD.dtype)).sum(2)

    def walk(self, x_BLC: Tensor, layout: TokenLayout | None = None) -> MapWalk:
        """Where on the map the scans go; a sequence without a layout is a map of one row."""
        length = x_BLC.shape[1]
        order_KL = self.order(length, torch.device("cpu"))
        names = ORDERS[: self.orders]
        return MapWalk.of_tokens(names, layout or TokenLayout(1, length), order_KL)

    def extra_repr(self) -> str:
        return f"orders={self.orders}, shuffle={self.shuffle}"
