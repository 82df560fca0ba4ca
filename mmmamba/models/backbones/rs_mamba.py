"""RSMamba (Chen et al., arXiv 2403.19654, GRSL 2024): one scan over three orders of the patches."""

from dataclasses import dataclass
from functools import partial
from typing import Any

from mmengine.registry import MODELS
from torch import Tensor, nn

from mmmamba.checkpoints import Fingerprint, KeyMap, Repository, Size, token_positions
from mmmamba.layers import LayerNorm, OrderMixer, PatchEmbed, TokenEmbedding, TokenLayout

from ..trunks.arch import named, one_of
from ..trunks.base import drop_path_rates
from ..trunks.column import Column, ColumnArch, PlainBackbone

_KEY_MAP = KeyMap(
    under=("state_dict", "model"),
    beside=("head.",),
    renames=(
        (r"^(pos_embed|cls_token)$", r"tokens.\1"),
        (r"^patch_embed\.projection\.", "patch_embed.proj."),
        (r"^gate_layers\.(\d+)\.0\.", r"layers.\1.gate."),
        (r"^head\.fc\.", "head."),
    ),
    resize=((r"tokens\.pos_embed", token_positions),),
    may_be_missing=(r"norm_layer\d+\..*", r"fpn\d\..*"),
    may_be_surplus=(r"(ln1|ln2|norm_layer\d+|head)\.(weight|bias)",),
    fingerprint=Fingerprint(
        block=r"layers\.(\d+)\.A_log",
        widths=(r"pre_norm\.weight",),
        variants={
            (16, 192): "rsmamba_s",
            (24, 192): "rsmamba_b",
            (36, 256): "rsmamba_l",
            (48, 320): "rsmamba_h",
        },
    ),
    mark=r"^(backbone\.)?pre_norm\.",
)

_file = partial(
    Repository(
        source="https://github.com/KyanChen/RSMamba",
        licence="Apache-2.0 (the repository's)",
        files="https://huggingface.co/KyanChen/RSMamba/tree/main",
    ).file,
    page=True,
)
_NOTE = "of {}; of which size is not said; sizes B, L and H lie there for each of 3 sets"
# fmt: off
_PUBLISHED_FILES = (
    _file("rsmamba_h", "classification_ucmerced", f1=95.25, note=_NOTE.format("UC Merced")),
    _file("rsmamba_h", "classification_aid", f1=92.63, note=_NOTE.format("AID")),
    _file("rsmamba_h", "classification_resisc45", f1=95.18, note=_NOTE.format("RESISC45")),
)
# fmt: on
# Counted, as the authors print none that is known.
_SIZES = {
    "rsmamba_b": Size("6.6", None),
    "rsmamba_l": Size("16.5", None),
    "rsmamba_h": Size("33.4", None),
    "rsmamba_s": Size("4.5", None),
}

PATHS = {
    "forward": (1, False),
    "forward_reverse_mean": (2, False),
    "forward_reverse_gate": (2, True),
    "forward_reverse_shuffle_mean": (3, False),
    "forward_reverse_shuffle_gate": (3, True),
}
"""How many orders a sequence is read in, and whether a gate weighs them, by the authors' names."""


class CornerPatchEmbed(PatchEmbed):
    """Overlapping patches that begin at every stride within the image, zeros beyond its corner."""

    def __init__(self, in_channels: int, dim: int, patch_size: int, stride: int):
        super().__init__(in_channels, dim, patch_size, stride, pad=True, bias=False)

    def _patches(self, side: int) -> int:
        return -(-side // self.stride)


@dataclass(frozen=True, kw_only=True)
class RSMambaArch(ColumnArch):
    """What an RSMamba's architecture says, beside `ColumnArch`.

    Args:
        depth: number of layers.
        stride: from one patch to the next; below `patch_size` they overlap.
        path_type: a name of `PATHS`.
        shuffle: in evaluation "fixed", the same for every image of a size; or "drawn" anew at every
            pass, as published. In training it is drawn.
        shuffle_seed: which of the fixed shuffles.
        dt_start: "mamba", or "linear", as published.
        cls_token: "none", "head" or "middle".
        d_state, ssm_ratio, d_conv, dt_rank: of `OrderMixer`.
    """

    depth: int
    stride: int = 8
    path_type: str = "forward_reverse_shuffle_gate"
    shuffle: str = "fixed"
    shuffle_seed: int = 0
    dt_start: str = "mamba"
    cls_token: str = "none"
    d_state: int = 16
    ssm_ratio: float = 2.0
    d_conv: int = 4
    dt_rank: int | str = "auto"


@MODELS.register_module()
class RSMamba(PlainBackbone):
    """A column whose layers read the patches forwards, backwards and shuffled, by one Mamba.

    Its authors draw the shuffles in evaluation too, so that their scores differ from pass to pass:
    `shuffle="drawn"` does so. By default they are fixed there. The step sizes start as Mamba's; as
    published they start as a linear layer (`dt_start="linear"`). Its arguments are the fields of
    `RSMambaArch` and those of every backbone (`MambaBackbone`). All maps have stride 8; each is
    normalised, the last by the classifier's first norm.

    Raises:
        ValueError: an unknown name in a field.
    """

    KEY_MAP = _KEY_MAP
    PUBLISHED = _PUBLISHED_FILES
    SIZES = _SIZES
    FINAL_NORM = "ln1"
    Arch = RSMambaArch
    ARCHS = dict(
        rsmamba_b=RSMambaArch(embed_dims=192, depth=24),
        rsmamba_l=RSMambaArch(embed_dims=256, depth=36),
        rsmamba_h=RSMambaArch(embed_dims=320, depth=48),
        rsmamba_s=RSMambaArch(embed_dims=192, depth=16),
    )
    TINY = dict(arch=dict(embed_dims=16, depth=4, d_state=4, img_size=32))

    def build(self, a: RSMambaArch, in_channels: int) -> Column:
        orders, gate = named("path_type", a.path_type, PATHS)
        fixed = one_of("shuffle", a.shuffle, ("fixed", "drawn")) == "fixed"
        mamba_start = one_of("dt_start", a.dt_start, ("mamba", "linear")) == "mamba"
        patch_embed = CornerPatchEmbed(in_channels, a.embed_dims, a.patch_size, a.stride)
        given = a.pick("d_state", "ssm_ratio", "d_conv", "dt_rank")
        (rates,) = drop_path_rates(a.drop_path_rate, [a.depth])
        blocks = [
            OrderMixer(
                a.embed_dims,
                orders,
                gate,
                shuffle=a.shuffle_seed + i if fixed else None,
                mamba_start=mamba_start,
                drop_path_rate=rate,
                **given,
            )
            for i, rate in enumerate(rates)
        ]
        norm = partial(LayerNorm, eps=1e-6)
        # One for all layers, as they were trained.
        self.pre_norm = norm(a.embed_dims, feeds_linear=True)
        return Column(
            patch_embed=patch_embed,
            tokens=TokenEmbedding(a.embed_dims, patch_embed.grid_size(*a.img_sides), a.cls_token),
            stride=a.stride,
            blocks=blocks,
            norm=norm,
            out_norm=norm,
        )

    def _out_norm(self, n: int) -> str:
        i = self.out_indices[n]
        return self.FINAL_NORM if i + 1 == self.depth else f"norm_layer{i}"

    def _parts(self) -> list[list[nn.Module]]:
        parts = super()._parts()
        # Whatever layer is frozen reads it.
        parts[1].append(self.pre_norm)
        return parts

    def _through(self, layer: nn.Module, x_BLC: Tensor, *rest: Any) -> Any:
        return x_BLC + super()._through(layer, self.pre_norm(x_BLC), *rest)

    def _add_classifier(self, dim: int, num_classes: int) -> None:
        super()._add_classifier(dim, num_classes)
        self.ln2 = LayerNorm(dim, eps=1e-6)

    def _classify(self, last_BLC: Tensor, layout: TokenLayout) -> Tensor:
        cells_BLC, extra_BEC = layout.cut(self.ln1(last_BLC))
        pooled_BC = extra_BEC[:, 0] if layout.places else cells_BLC.mean(1)
        return self.head(self.ln2(pooled_BC))
