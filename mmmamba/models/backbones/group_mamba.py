"""GroupMamba (Shaker et al., arXiv 2407.13772, CVPR 2025): scans of groups of channels."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from mmengine.registry import MODELS
from torch import Tensor, nn

from mmmamba.checkpoints import Fingerprint, KeyMap, Repository, Size
from mmmamba.layers import (
    CROSS,
    Branch,
    ConvMlp,
    DistilledHeads,
    LayerNorm,
    Mlp,
    ModulatedGroupMamba,
    ResidualBlock,
    Stage,
    conv_downsample,
    drop_path,
    dropped,
)

from ..trunks.base import init_by_fan_out
from ..trunks.pyramid import Pyramid, PyramidArch, PyramidBackbone, check_per_stage
from .wave_frame import FRAME_NAMES, convolutional_stem

_GROUP = re.compile(r"\.mamba_g(\d)\.")


def _join_groups(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Their four mixers of a layer as our one, whose parameters are theirs below each other."""
    joined: dict[str, list[Tensor]] = {}
    for name in sorted(state):
        joined.setdefault(_GROUP.sub(".groups.", name), []).append(state[name])
    return {
        name: torch.cat(found) if len(found) > 1 else found[0] for name, found in joined.items()
    }


_KEY_MAP = KeyMap(
    under=("model_ema", "model"),
    renames=(
        *FRAME_NAMES,
        (r"^post_network\.0\.", "layers.3.norm."),
        (r"\.attn\.fc1\.", ".attn.affinity.global_reduce."),
        (r"\.attn\.fc2\.", ".attn.affinity.channel_select."),
        (r"^(head|dist_head)\.", r"classifier.\1."),
    ),
    convert=_join_groups,
    may_be_surplus=(
        r"layers\.3\.norm\.(attn|norm1|norm2|mlp)\..*",
        r"classifier\.(dist_)?head\.(weight|bias)",
    ),
    fingerprint=Fingerprint(
        block=r"layers\.(\d+)\.blocks\.(\d+)\.attn\.skip_scale",
        widths=(r"layers\.0\.norm\.weight", r"layers\.3\.norm\.weight"),
        variants={
            (3, 4, 9, 3, 64, 448): "groupmamba_t",
            (3, 4, 16, 3, 64, 512): "groupmamba_s",
            (3, 6, 21, 3, 96, 512): "groupmamba_b",
        },
    ),
    mark=r"\.attn\.skip_scale$",
)

_file = Repository(
    source="https://github.com/Amshaker/GroupMamba",
    licence="MIT (the repository's)",
    files="https://huggingface.co/Abdelrahman-shaker/{}",
).file
# fmt: off
_PUBLISHED_FILES = (
    _file("groupmamba_t", "classification", top1=83.3,
          at="GroupMamba-Tiny/resolve/main/groupmamba_tiny_ema.pth"),
    _file("groupmamba_s", "classification", top1=83.9, page=True, at="GroupMamba-Small"),
    _file("groupmamba_b", "classification", top1=84.5, page=True, at="GroupMamba-Base"),
)
# fmt: on
_SIZES = {
    "groupmamba_t": Size("23", "4.6"),
    "groupmamba_s": Size("34", "7.0"),
    "groupmamba_b": Size("57", "14"),
}


class GroupMambaBlock(ResidualBlock):
    """`x + attn(x)`, whose norm is its own, then `x + mlp(norm2(x))`. Channels-last."""

    def __init__(self, dim: int, attn: nn.Module, mlp: nn.Module, drop_path_rate: float):
        super().__init__()
        self.attn = attn
        self.drop_path = drop_path(drop_path_rate)
        self.norm2 = LayerNorm(dim, eps=1e-6, feeds_linear=True)
        self.mlp = mlp

    def summands(self, x: Tensor, branch: Branch | None = None) -> tuple[Tensor, Branch]:
        normed, x = self.attn.norm(x, branch)
        normed, x = self.norm2(x, dropped(self.drop_path, self.attn(normed)))
        return x, dropped(self.drop_path, self.mlp(normed))


class ClassNorm(LayerNorm):
    """The classifier's last norm: not of the map, but of one more block of its mean.

    In that block a norm comes after the layer, and no convolution in the feed-forward layer.
    """

    def __init__(self, dim: int, attn: nn.Module):
        super().__init__(dim, eps=1e-6)
        self.attn = attn
        self.norm1 = LayerNorm(dim, eps=1e-6)
        self.norm2 = LayerNorm(dim, eps=1e-6, feeds_linear=True)
        self.mlp = Mlp(dim)

    def forward(self, x_BHWC: Tensor) -> Tensor:  # type: ignore[override]
        x_B11C = x_BHWC.mean((1, 2), keepdim=True)
        x_B11C = x_B11C + self.norm1(self.attn(self.attn.norm(x_B11C)))
        return super().forward(x_B11C + self.mlp(self.norm2(x_B11C)))


@dataclass(frozen=True, kw_only=True)
class GroupMambaArch(PyramidArch):
    """What a GroupMamba's architecture says, beside `PyramidArch`.

    Args:
        stem_hidden_dim: channels of the stem's first three convolutions.
        mlp_ratios: widening of each stage's feed-forward layers.
        routes: one for each group of channels; so many groups there are.
        d_state, dt_rank: of each group's scan; "auto" is a sixteenth of a group's width.
    """

    stem_hidden_dim: int = 64
    mlp_ratios: Sequence[float] = (8, 8, 4, 4)
    routes: Sequence[str] = CROSS
    d_state: int = 1
    dt_rank: int | str = "auto"
    drop_path_rate: float = 0.05


@MODELS.register_module()
class GroupMamba(PyramidBackbone):
    """Four groups of channels, each scanned along one route, and an affinity between them.

    Its arguments are the fields of `GroupMambaArch` and those of every backbone (`MambaBackbone`).
    A stage's map is normalised, and so goes on to the next; the norm of the last one has learnt
    from a classifier's vector alone. A classifier returns the mean of its two heads; while a
    `DistilledClassifier` trains it, both.

    Raises:
        ValueError: not one of `mlp_ratios` for each stage, or widths that the groups cannot share.
    """

    OUTPUT_NORMS = False
    KEY_MAP = _KEY_MAP
    PUBLISHED = _PUBLISHED_FILES
    SIZES = _SIZES
    Arch = GroupMambaArch
    ARCHS = dict(
        groupmamba_t=GroupMambaArch(
            embed_dims=(64, 128, 348, 448), depths=(3, 4, 9, 3), stem_hidden_dim=32
        ),
        groupmamba_s=GroupMambaArch(embed_dims=(64, 128, 348, 512), depths=(3, 4, 16, 3)),
        groupmamba_b=GroupMambaArch(embed_dims=(96, 192, 424, 512), depths=(3, 6, 21, 3)),
    )
    # An affinity's hidden channels are a sixteenth of these: of one or two, all may start idle.
    TINY = dict(
        arch=dict(
            embed_dims=(32, 48, 64, 64),
            depths=(1, 1, 2, 1),
            stem_hidden_dim=8,
            mlp_ratios=(2, 2, 2, 2),
        )
    )

    def build(self, a: GroupMambaArch, in_channels: int) -> Pyramid:
        check_per_stage("GroupMamba", len(a.depths), mlp_ratios=a.mlp_ratios)
        mixer = partial(ModulatedGroupMamba, **a.pick("routes", "d_state", "dt_rank"))

        def block(i: int, j: int, dim: int, drop_path_rate: float) -> nn.Module:
            return GroupMambaBlock(dim, mixer(dim), ConvMlp(dim, a.mlp_ratios[i]), drop_path_rate)

        def stage(
            i: int, blocks: list[nn.Module], downsample: nn.Module | None, with_cp: bool
        ) -> Stage:
            dim = self.dims[i]
            norm: nn.Module = LayerNorm(dim, eps=1e-6)
            if self.is_classifier and downsample is None:
                norm = ClassNorm(dim, mixer(dim))
            return Stage(blocks, downsample, with_cp, norm)

        return Pyramid(
            stem=partial(convolutional_stem, in_channels, hidden=a.stem_hidden_dim),
            block=block,
            downsample=conv_downsample,
            head=DistilledHeads,
            stage=stage,
            start=init_by_fan_out,
        )
