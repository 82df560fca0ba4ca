"""Mamba-R (Wang et al., arXiv 2405.14858, CVPR 2025): Vim's column with registers."""

from dataclasses import dataclass
from functools import partial

from mmengine.registry import MODELS
from torch import Tensor, nn

from mmmamba.checkpoints import Fingerprint, KeyMap, PositionGrid, Repository, Size
from mmmamba.layers import BidirectionalMixer, PatchEmbed, RegisterEmbedding, RMSNorm, TokenLayout

from ..trunks.stream import Stream, StreamArch, StreamBackbone, stream_norm

_KEY_MAP = KeyMap(
    renames=((r"^(pos_embed|cls_token|pos_embed_cls)$", r"tokens.\1"),),
    resize=((r"tokens\.pos_embed", PositionGrid("none", "tokens.grid_size")),),
    may_be_missing=(r"fpn\d\..*",),
    may_be_surplus=(r"(norm_f|norm_neck|neck|head)\.(weight|bias)",),
    fingerprint=Fingerprint(
        block=r"layers\.(\d+)\.mixer\.A_log",
        widths=(r"layers\.0\.norm\.weight",),
        variants={
            (24, 192): "mambar_t",
            (24, 384): "mambar_s",
            (24, 768): "mambar_b",
            (48, 1024): "mambar_l",
        },
    ),
    mark=r"(^|\.)pos_embed_cls$",
)

_file = Repository(
    source="https://github.com/wangf3014/Mamba-Reg",
    licence="none stated",
    files="https://huggingface.co/Wangf3014/Mamba-Reg/resolve/main/{}",
).file
_PUBLISHED_FILES = (
    _file("mambar_s", "classification", top1=81.4, at="mambar_small_patch16_224.pth"),
    _file("mambar_b", "classification", top1=83.0, at="mambar_base_patch16_224.pth"),
    _file("mambar_l", "classification", top1=83.6, at="mambar_large_patch16_224.pth"),
)
_SIZES = {
    "mambar_t": Size("9", None, top1=77.4),
    "mambar_s": Size("28", None),
    "mambar_b": Size("99", None),
    "mambar_l": Size("341", None),
}


@dataclass(frozen=True, kw_only=True)
class MambaRArch(StreamArch):
    """What a Mamba-R's architecture says, beside `StreamArch`.

    Args:
        depth: number of blocks.
        registers: number of registers, spread evenly through the sequence.
        cls_reduce: the classifier reads all registers, each brought to a part of the width by one
            linear layer; 1 for no such layer.
    """

    depth: int = 24
    registers: int = 12
    cls_reduce: int = 1


_arch = partial(MambaRArch, drop_path_rate=0.1)


@MODELS.register_module()
class MambaR(StreamBackbone):
    """Mamba-R's column. Registers are cut out of the maps.

    Its arguments are the fields of `MambaRArch` and those of every backbone (`MambaBackbone`).
    """

    KEY_MAP = _KEY_MAP
    PUBLISHED = _PUBLISHED_FILES
    SIZES = _SIZES
    Arch = MambaRArch
    ARCHS = dict(
        mambar_t=_arch(embed_dims=192),
        mambar_s=_arch(embed_dims=384, cls_reduce=2),
        mambar_b=_arch(embed_dims=768, cls_reduce=4),
        mambar_l=_arch(embed_dims=1024, depth=48, registers=16, cls_reduce=8),
    )
    TINY = dict(
        arch=dict(embed_dims=16, depth=4, registers=3, cls_reduce=2, d_state=4, img_size=64)
    )

    def build(self, a: MambaRArch, in_channels: int) -> Stream:
        if a.embed_dims % a.cls_reduce:
            raise ValueError(
                f"cls_reduce is {a.cls_reduce}, wanted a divisor of embed_dims, {a.embed_dims}"
            )
        self.registers, self.cls_reduce = a.registers, a.cls_reduce
        patch_embed = PatchEmbed(in_channels, a.embed_dims, a.patch_size, a.patch_size)
        grid_size = patch_embed.grid_size(*a.img_sides)
        given = a.pick("d_state", "ssm_ratio", "d_conv", "dt_rank")
        return Stream(
            patch_embed=patch_embed,
            tokens=RegisterEmbedding(a.embed_dims, grid_size, a.registers),
            stride=a.patch_size,
            blocks=[BidirectionalMixer(a.embed_dims, **given) for _ in range(a.depth)],
            norm=stream_norm(a.norm),
        )

    def _add_classifier(self, dim: int, num_classes: int) -> None:
        """Reads all registers: each reduced by `neck`, then normalised as one vector."""
        width = dim // self.cls_reduce
        self.neck: nn.Module = nn.Identity()
        self.norm_neck: nn.Module = nn.Identity()
        if self.cls_reduce > 1:
            neck = nn.Linear(dim, width, bias=False)
            nn.init.trunc_normal_(neck.weight, std=0.02)
            self.neck, self.norm_neck = neck, RMSNorm(self.registers * width, feeds_linear=True)
        super()._add_classifier(self.registers * width, num_classes)

    def _classify(self, last_BLC: Tensor, layout: TokenLayout) -> Tensor:
        _, registers_BEC = layout.cut(self.norm_f(last_BLC))
        return self.head(self.norm_neck(self.neck(registers_BEC).flatten(1)))
