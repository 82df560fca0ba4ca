"""Heracles (Patro et al., arXiv 2403.18063): filters of cosines, then attention; no scan."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from mmengine.registry import MODELS
from torch import Tensor, nn

from mmmamba.checkpoints import Fingerprint, KeyMap, Size
from mmmamba.layers import (
    Attention,
    ConvMlp,
    CosineMixer,
    LayerNorm,
    MapAttention,
    MixerBlock,
    Mlp,
)
from mmmamba.ops import stretch_filter

from ..trunks.pyramid import Pyramid, PyramidArch, check_per_stage
from .wave_frame import FRAME_NAMES, OF_CLASSIFIER, TOKEN_LABEL_NAMES, TokenLabelBackbone


def _join_queries(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Their layers `q` and `kv` as our one."""
    joined = {}
    for name, value in state.items():
        if ".op.kv." in name:
            queries = state[name.replace(".op.kv.", ".op.q.")]
            joined[name.replace(".op.kv.", ".op.qkv.")] = torch.cat([queries, value])
        elif ".op.q." not in name:
            joined[name] = value
    return joined


def _stretch(table_EST: Tensor, like_EHW: Tensor, module: nn.Module) -> Tensor:
    return stretch_filter(table_EST, *like_EHW.shape[1:])


# Their authors published no weights: this reads what their code, mended, would train.
_KEY_MAP = KeyMap(
    under=("state_dict", "model"),
    renames=(
        *FRAME_NAMES,
        *TOKEN_LABEL_NAMES,
        (r"\.norm1\.", ".norm."),
        (r"\.attn\.local_ssm\.conv\.", ".op.conv."),
        (r"\.attn\.", ".op."),
    ),
    convert=_join_queries,
    resize=((r"layers\.\d+\.blocks\.\d+\.op\.weight", _stretch),),
    may_be_surplus=(OF_CLASSIFIER,),
    fingerprint=Fingerprint(
        block=r"layers\.(\d+)\.blocks\.(\d+)\.norm2\.weight",
        widths=(r"layers\.0\.norm\.weight", r"layers\.3\.norm\.weight"),
        variants={
            (3, 4, 6, 3, 64, 448): "heracles_s",
            (3, 4, 12, 3, 64, 512): "heracles_b",
            (3, 6, 18, 3, 96, 512): "heracles_l",
        },
    ),
    mark=r"\.attn\.local_ssm\.conv\.|^layers\.\d+\.blocks\.\d+\.op\.conv\.",
)
_SIZES = {
    "heracles_s": Size("21.7", "4.1", top1=84.5),
    "heracles_b": Size("32.5", "6.5", top1=85.2),
    "heracles_l": Size("54.1", "13.4", top1=85.9),
}


class HeraclesBlock(MixerBlock):
    """`MixerBlock` whose norms have an epsilon of 1e-6."""

    def __init__(self, dim: int, mixer: nn.Module, mlp: nn.Module, drop_path_rate: float = 0.0):
        super().__init__(dim, mixer, mlp, drop_path_rate)
        self.norm = LayerNorm(dim, eps=1e-6, feeds_linear=not isinstance(mixer, CosineMixer))
        self.norm2 = LayerNorm(dim, eps=1e-6, feeds_linear=True)


class ClassAttention(Attention):
    """`Attention` of which the first token alone asks: `(B, L, C)` to `(B, 1, C)`."""

    def forward(self, x_BLC: Tensor) -> Tensor:
        dim = x_BLC.shape[-1]
        weights, biases = (p.split([dim, 2 * dim]) for p in (self.qkv.weight, self.qkv.bias))
        query_BHLC = F.linear(x_BLC[:, :1], weights[0], biases[0])
        query_BHLC = query_BHLC.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
        both_BLC = F.linear(x_BLC, weights[1], biases[1])
        key_BHLC, value_BHLC = both_BLC.unflatten(-1, (2, self.num_heads, -1)).permute(
            2, 0, 3, 1, 4
        )
        y_BHLC = F.scaled_dot_product_attention(query_BHLC, key_BHLC, value_BHLC)
        return self.proj(y_BHLC.transpose(1, 2).flatten(2))


class ClassBlock(HeraclesBlock):
    """A block of the class token, which looks at itself and at all cells."""

    def forward(self, token_B11C: Tensor, x_BHWC: Tensor) -> Tensor:  # type: ignore[override]
        tokens_BLC = torch.cat([token_B11C.flatten(1, 2), x_BHWC.flatten(1, 2)], 1)
        token_B11C = token_B11C + self.op(self.norm(tokens_BLC)).unsqueeze(1)
        return token_B11C + self.mlp(self.norm2(token_B11C))


@dataclass(frozen=True, kw_only=True)
class HeraclesArch(PyramidArch):
    """What a Heracles' architecture says, beside `PyramidArch`.

    Args:
        stem_hidden_dim: channels of the stem's first three convolutions.
        spectral_stages: how many stages, from the first, have filters in place of attention.
        head_dim: channels of a head of attention.
        mlp_ratios: widening of each stage's feed-forward layers.
        img_size: side or (height, width) whose maps the filters are as large as; they are stretched
            to any other.
        token_label: let a classifier have the dense head that its authors trained with token
            labels, half of whose largest logits are added.
    """

    stem_hidden_dim: int = 64
    spectral_stages: int = 2
    head_dim: int = 32
    mlp_ratios: Sequence[float] = (8, 8, 4, 4)
    img_size: int | Sequence[int] = 224
    token_label: bool = True
    drop_path_rate: float = 0.1


@MODELS.register_module()
class Heracles(TokenLabelBackbone):
    """Two stages of filters of cosines and convolutions, two of attention.

    As its authors' code computes once it runs: as published it does not, for channels, sizes and
    arguments that do not fit. A filter has the size of its stage's map, and their code takes one
    size of images; for others, filters are stretched, which is ours. A stage's map is normalised,
    and so goes on to the next. Its arguments are the fields of `HeraclesArch` and those of every
    backbone (`MambaBackbone`).

    Raises:
        ValueError: not one of `mlp_ratios` for each stage, or widths that heads or halves cannot
            share.
    """

    KEY_MAP = _KEY_MAP
    SIZES = _SIZES
    Arch = HeraclesArch
    ARCHS = dict(
        heracles_s=HeraclesArch(
            embed_dims=(64, 128, 320, 448), depths=(3, 4, 6, 3), stem_hidden_dim=32
        ),
        heracles_b=HeraclesArch(embed_dims=(64, 128, 320, 512), depths=(3, 4, 12, 3)),
        heracles_l=HeraclesArch(
            embed_dims=(96, 192, 384, 512), depths=(3, 6, 18, 3), drop_path_rate=0.3
        ),
    )
    TINY = dict(
        arch=dict(
            embed_dims=(8, 16, 16, 32),
            depths=(1, 1, 2, 1),
            stem_hidden_dim=4,
            head_dim=8,
            mlp_ratios=(4, 4, 4, 4),
            img_size=64,
        )
    )

    def build(self, a: HeraclesArch, in_channels: int) -> Pyramid:
        check_per_stage("Heracles", len(a.depths), mlp_ratios=a.mlp_ratios)
        sides = (a.img_size, a.img_size) if isinstance(a.img_size, int) else tuple(a.img_size)
        attention = partial(_attention, head_dim=a.head_dim)

        def block(i: int, j: int, dim: int, drop_path_rate: float) -> nn.Module:
            mlp = ConvMlp(dim, a.mlp_ratios[i])
            if i >= a.spectral_stages:
                return HeraclesBlock(dim, attention(MapAttention, dim), mlp, drop_path_rate)
            height, width = (-(-side // self.STRIDES[i]) for side in sides)
            return HeraclesBlock(dim, CosineMixer(dim, (height, width)), mlp, drop_path_rate)

        def class_block(dim: int) -> nn.Module:
            return ClassBlock(dim, attention(ClassAttention, dim), Mlp(dim))

        return self.frame(in_channels, a.stem_hidden_dim, a.token_label, block, class_block)


def _attention(kind: type[Attention], dim: int, head_dim: int) -> Attention:
    if dim % head_dim:
        raise ValueError(f"{dim} channels are no multiple of a head's {head_dim}")
    return kind(dim, dim // head_dim)
