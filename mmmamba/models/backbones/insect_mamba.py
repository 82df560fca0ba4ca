"""InsectMamba (Wang et al., arXiv 2404.03611): VMamba's blocks with three branches more."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from mmengine.registry import MODELS
from torch import Tensor, nn

from mmmamba.checkpoints import OUTPUT_NORMS, Fingerprint, KeyMap, Size
from mmmamba.layers import (
    CROSS,
    SS2D,
    ConvNormAct,
    LayerNorm,
    MapAttention,
    Mlp,
    channels_first,
    channels_last,
    conv_downsample,
    conv_stem,
    drop_path,
)

from ..trunks.base import init_linears
from ..trunks.pyramid import Pyramid, PyramidArch, PyramidBackbone, check_per_stage

# Convolutions, norms and activations count one after the other in their branch.
_KEY_MAP = KeyMap(
    renames=(
        (r"\.mutli_head_atten\.in_proj_(weight|bias)$", r".attn.qkv.\1"),
        (r"\.mutli_head_atten\.out_proj\.", ".attn.proj."),
        (r"\.conv33conv33conv11\.([03])\.", lambda m: f".local.{int(m[1]) // 3}.conv."),
        (r"\.conv33conv33conv11\.([14])\.", lambda m: f".local.{int(m[1]) // 3}.norm."),
        (r"\.conv33conv33conv11\.6\.", ".local.2."),
        (r"^(norm|head)\.", r"classifier.\1."),
    ),
    squeeze=(r".*\.op\.(in_proj|out_proj)\.weight", r".*\.mlp\.(fc1|fc2)\.weight"),
    may_be_missing=(OUTPUT_NORMS,),
    may_be_surplus=(OUTPUT_NORMS, r"classifier\.(norm|head)\.(weight|bias)"),
    fingerprint=Fingerprint(
        block=r"layers\.(\d+)\.blocks\.(\d+)\.op\.A_logs",
        widths=(r"layers\.0\.blocks\.0\.norm\.weight",),
        variants={
            (2, 2, 5, 2, 96): "insectmamba_t",
            (2, 2, 15, 2, 96): "insectmamba_s",
            (2, 2, 15, 2, 128): "insectmamba_b",
        },
    ),
    mark=r"\.sk_conv\.",
)

# Counted, as the authors print none that is known.
_SIZES = {
    "insectmamba_t": Size("149.6", None),
    "insectmamba_s": Size("256.4", None),
    "insectmamba_b": Size("454.9", None),
}

HEADS = 2
PART = 0.1
"""The selected branches' part of the sum; the scan's has the rest."""


class ReducedAttention(MapAttention):
    """Attention of all cells of a map `(B, H, W, C)` to the means of squares of cells.

    Args:
        dim, num_heads: of `MapAttention`.
        reduction: side of the squares; 1 for all cells.
    """

    def __init__(self, dim: int, num_heads: int, reduction: int = 1):
        super().__init__(dim, num_heads)
        self.reduction = reduction

    def forward(self, x_BHWC: Tensor) -> Tensor:
        if self.reduction == 1:
            return super().forward(x_BHWC)
        C = x_BHWC.shape[-1]
        pooled = F.avg_pool2d(channels_first(x_BHWC), self.reduction, ceil_mode=True)
        of_query, of_rest = self.qkv.weight.split((C, 2 * C))
        query_bias, rest_bias = self.qkv.bias.split((C, 2 * C))
        query = F.linear(x_BHWC.flatten(1, 2), of_query, query_bias)
        rest = F.linear(channels_last(pooled).flatten(1, 2), of_rest, rest_bias)
        q, k, v = (
            part.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for part in (query, *rest.chunk(2, -1))
        )
        y_BHLC = F.scaled_dot_product_attention(q, k, v)
        return self.proj(y_BHLC.transpose(1, 2).flatten(2)).view_as(x_BHWC)

    def extra_repr(self) -> str:
        return f"reduction={self.reduction}"


class SelectiveSum(nn.Module):
    """The last of several maps, and beside it their sum, weighed channel by channel.

    Each goes through a convolution of its own; what the means of its channels say, against the
    others', is its weight (selective kernels, arXiv 1903.06586).

    Args:
        dim: width C.
        branches: number of maps `(B, H, W, C)`.
    """

    def __init__(self, dim: int, branches: int):
        super().__init__()
        hidden = max(dim // 16, 32)
        self.conv = nn.ModuleList(nn.Conv2d(dim, dim, 3, padding=1) for _ in range(branches))
        self.fc = nn.Sequential(nn.Linear(dim, hidden), nn.ReLU(), nn.Linear(hidden, dim))

    def forward(self, maps_BHWC: Sequence[Tensor]) -> Tensor:
        convolved = [conv(channels_first(m)) for conv, m in zip(self.conv, maps_BHWC)]
        means_BUC = torch.stack([m.mean((2, 3)) for m in convolved], 1)
        share_BUC = self.fc(means_BUC).softmax(1)
        chosen = sum(s[:, :, None, None] * m for s, m in zip(share_BUC.unbind(1), convolved))
        return (1 - PART) * maps_BHWC[-1] + PART * channels_last(chosen)


class InsectBlock(nn.Module):
    """Convolutions, attention, an MLP and a scan of one map, their selective sum, and the MLP.

    The MLP is one for both, as published. Channels-last; only scan and MLP have norms before them.

    Args:
        dim: width C.
        mixer: the scan.
        mlp: the MLP.
        reduction: of the attention.
        drop_path_rate: of the scan and of the MLP at the end.
    """

    def __init__(
        self, dim: int, mixer: nn.Module, mlp: nn.Module, reduction: int, drop_path_rate: float
    ):
        super().__init__()
        self.local = nn.Sequential(
            ConvNormAct(nn.Conv2d(dim, dim, 3, padding=1)),
            ConvNormAct(nn.Conv2d(dim, dim, 3, padding=1)),
            nn.Conv2d(dim, dim, 1),
        )
        self.attn = ReducedAttention(dim, HEADS, reduction)
        self.norm = LayerNorm(dim, feeds_linear=True)
        self.op = mixer
        self.sk_conv = SelectiveSum(dim, 4)
        self.norm2 = LayerNorm(dim, feeds_linear=True)
        self.mlp = mlp
        self.drop_path = drop_path(drop_path_rate)

    def forward(self, x_BHWC: Tensor) -> Tensor:
        branches = [
            channels_last(self.local(channels_first(x_BHWC))),
            x_BHWC + self.attn(x_BHWC),
            self.mlp(x_BHWC),
            x_BHWC + self.drop_path(self.op(self.norm(x_BHWC))),
        ]
        m_BHWC = self.sk_conv(branches)
        return m_BHWC + self.drop_path(self.mlp(self.norm2(m_BHWC)))


def _start(module: nn.Module) -> None:
    init_linears(module)
    # Called after the layers inside it.
    if isinstance(module, MapAttention):
        nn.init.xavier_uniform_(module.qkv.weight)


@dataclass(frozen=True, kw_only=True)
class InsectMambaArch(PyramidArch):
    """What an InsectMamba's architecture says, beside `PyramidArch`.

    Args:
        d_state, ssm_ratio, dt_rank, routes: of `SS2D`.
        mlp_ratio: widening of the feed-forward layers.
        attn_reductions: of each stage's attention: the side of the squares of cells whose means it
            reads. 1, all cells, is as published, and quadratic in the cells of a large image.
    """

    d_state: int = 1
    ssm_ratio: float = 2.0
    dt_rank: int | str = "auto"
    routes: str | Sequence[str] | Sequence[Sequence[str]] = CROSS
    mlp_ratio: float = 4.0
    attn_reductions: Sequence[int] = (1, 1, 1, 1)


@MODELS.register_module()
class InsectMamba(PyramidBackbone):
    """VMamba v2 with convolutions, attention and an MLP beside each scan.

    Its arguments are the fields of `InsectMambaArch` and those of every backbone
    (`MambaBackbone`). No weights are published. Its authors start from VMamba's of the same size
    (`vmamba_t_s2l5` for `insectmamba_t`), which lack the branches: `init_cfg` and
    `mmmamba.checkpoints.load_weights` take them with
    `allow_missing=[r".*\\.(local|attn|sk_conv)\\..*"]`.

    Raises:
        ValueError: not one of `attn_reductions` for each stage.
    """

    KEY_MAP = _KEY_MAP
    SIZES = _SIZES
    Arch = InsectMambaArch
    ARCHS = dict(
        insectmamba_t=InsectMambaArch(embed_dims=96, depths=(2, 2, 5, 2), drop_path_rate=0.2),
        insectmamba_s=InsectMambaArch(embed_dims=96, depths=(2, 2, 15, 2), drop_path_rate=0.3),
        insectmamba_b=InsectMambaArch(embed_dims=128, depths=(2, 2, 15, 2), drop_path_rate=0.6),
    )
    # Its blocks are long to compile: two stages have both kinds of attention.
    TINY = dict(arch=dict(embed_dims=16, depths=(1, 2), attn_reductions=(1, 2)))

    def build(self, a: InsectMambaArch, in_channels: int) -> Pyramid:
        check_per_stage("InsectMamba", len(a.depths), attn_reductions=a.attn_reductions)
        mixer = a.pick("d_state", "ssm_ratio", "dt_rank", "routes")

        def block(i: int, j: int, dim: int, drop_path_rate: float) -> nn.Module:
            mlp = Mlp(dim, a.mlp_ratio)
            return InsectBlock(dim, SS2D(dim, **mixer), mlp, a.attn_reductions[i], drop_path_rate)

        return Pyramid(
            stem=partial(conv_stem, in_channels),
            block=block,
            downsample=conv_downsample,
            start=_start,
        )
