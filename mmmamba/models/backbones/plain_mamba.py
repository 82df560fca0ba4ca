"""PlainMamba (Yang et al., arXiv 2403.17695, BMVC 2024): a column of continuous scans."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from mmengine.registry import MODELS
from torch import Tensor, nn

from mmmamba.checkpoints import Fingerprint, KeyMap, Repository, Size, token_positions
from mmmamba.layers import (
    ContinuousMixer,
    ConvNormAct,
    DepthwiseConv,
    LayerNorm,
    MixerBlock,
    TokenEmbedding,
    channels_first,
    channels_last,
    pad_to_multiple,
)

from ..trunks.adapted import ADAPTER, ADAPTER_NAMES, AdaptedArch, AdaptedBackbone
from ..trunks.base import drop_path_rates, init_linears
from ..trunks.column import Column, MapBackbone

# Steps of their stem are counted one by one: convolution, norm, and an activation without a name.
_KEY_MAP = KeyMap(
    under=("state_dict", "model"),
    beside=("head.",),
    renames=(
        (r"^pos_embed$", "tokens.pos_embed"),
        (r"^patch_embed\.stem\.0\.", "patch_embed.stem.conv."),
        (r"^patch_embed\.stem\.1\.", "patch_embed.stem.norm."),
        (r"^patch_embed\.convs\.([03])\.weight", lambda m: _step(m[1], "conv.weight")),
        (r"^patch_embed\.convs\.([14])\.(\w+)$", lambda m: _step(m[1], f"norm.{m[2]}")),
        (r"^(layers\.\d+)\.mamba\.", r"\1.op."),
        (r"^(layers\.\d+)\.dw\.0\.", r"\1.dw.conv."),
        (r"^(layers\.\d+)\.dw\.1\.", r"\1.dw.norm."),
        (r"^head\.fc\.", "head."),
        *ADAPTER_NAMES,
    ),
    resize=((r"tokens\.pos_embed", token_positions),),
    may_be_missing=(r"norm_layer\d+\..*", ADAPTER),
    may_be_surplus=(r"(ln1|norm_layer\d+|head)\.(weight|bias)",),
    fingerprint=Fingerprint(
        block=r"layers\.(\d+)\.op\.direction_Bs",
        widths=(r"layers\.0\.norm\.weight",),
        variants={
            (24, 192): "plainmamba_l1",
            (24, 384): "plainmamba_l2",
            (36, 448): "plainmamba_l3",
        },
    ),
    mark=r"\.(mamba|op)\.direction_Bs$",
)


def _step(number: str, rest: str) -> str:
    return f"patch_embed.convs.{int(number) // 3}.{rest}"


_file = Repository(
    source="https://github.com/ChenhongyiYang/PlainMamba",
    licence="Apache-2.0 (the repository's)",
    files="https://huggingface.co/ChenhongyiYang/PlainMamba/resolve/main/{}",
).file
# fmt: off
_PUBLISHED_FILES = (
    _file("plainmamba_l1", "classification", top1=77.9, at="l1.pth"),
    _file("plainmamba_l1_det", "mask_rcnn_1x", box_ap=44.1, mask_ap=39.1,
          at="detection/maskrcnn/l1_1x.pth"),
    _file("plainmamba_l1_det", "retinanet_1x", box_ap=41.7, at="detection/retinanet/l1_1x.pth"),
    _file("plainmamba_l1", "upernet_160k", miou=44.1, at="segmentation/l1_upernet.pth"),
    _file("plainmamba_l2", "classification", top1=81.6, at="l2.pth"),
    _file("plainmamba_l2_det", "mask_rcnn_1x", box_ap=46.0, mask_ap=40.6,
          at="detection/maskrcnn/l2_1x.pth"),
    _file("plainmamba_l2_det", "retinanet_1x", box_ap=43.9, at="detection/retinanet/l2_1x.pth"),
    _file("plainmamba_l2", "upernet_160k", miou=46.8, at="segmentation/l2_upernet.pth"),
    _file("plainmamba_l3", "classification", top1=82.3, at="l3.pth"),
    _file("plainmamba_l3_det", "mask_rcnn_1x", box_ap=46.8, mask_ap=41.2,
          at="detection/maskrcnn/l3_1x.pth"),
    _file("plainmamba_l3_det", "retinanet_1x", box_ap=44.8, at="detection/retinanet/l3_1x.pth"),
    _file("plainmamba_l3", "upernet_160k", miou=49.1, at="segmentation/l3_upernet.pth"),
)
# fmt: on
# Theirs leave out the linear layer of the classifier.
_SIZES = {
    "plainmamba_l1": Size("7.3", "3.0"),
    "plainmamba_l2": Size("25.7", "8.1"),
    "plainmamba_l3": Size("50.5", "14.4"),
}


class ConvPatchEmbed(nn.Module):
    """Images `(B, 3, H, W)` to a map of patches `(B, H', W', C)`, sides rounded up.

    Patches are cut of what convolutions at half the sides make, filled with zeros at the right and
    the bottom.

    Args:
        in_channels, dim: of the images and the map.
        patch_size: even, in pixels of the image.
        convs: 3x3 convolutions after the first, strided one.
        width: of all of these.
    """

    pad = True
    """The last patches are filled up, as by `PatchEmbed(pad=True)`."""

    def __init__(self, in_channels: int, dim: int, patch_size: int, convs: int, width: int):
        super().__init__()
        conv = partial(nn.Conv2d, bias=False)
        self.stem = ConvNormAct(conv(in_channels, width, 7, 2, 3))
        steps = [ConvNormAct(conv(width, width, 3, 1, 1)) for _ in range(convs)]
        self.convs = nn.Sequential(*steps)
        self.side = patch_size // 2
        self.projection = nn.Conv2d(width, dim, self.side, self.side)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        x_BCHW = self.convs(self.stem(x_BCHW))
        return channels_last(self.projection(pad_to_multiple(x_BCHW, self.side)))


class ConvolvedBlock(MixerBlock):
    """A block whose sum goes through a depthwise convolution with batch norm and GELU."""

    def __init__(self, dim: int, mixer: nn.Module, drop_path_rate: float = 0.0):
        super().__init__(dim, mixer, drop_path_rate=drop_path_rate)
        self.dw = ConvNormAct(DepthwiseConv(dim, bias=False), act_layer=nn.GELU)

    def forward(self, x_BHWC: Tensor) -> Tensor:
        return channels_last(self.dw(channels_first(super().forward(x_BHWC))))


@dataclass(frozen=True, kw_only=True)
class PlainMambaArch(AdaptedArch):
    """What a PlainMamba's architecture says, beside `AdaptedArch`.

    Args:
        depth: number of blocks.
        stem_dims, stem_convs: width of the stem, and its 3x3 convolutions.
        convolved: numbers of the blocks that are `ConvolvedBlock`s.
        d_state, ssm_ratio, d_conv, dt_rank: of `ContinuousMixer`.
    """

    depth: int = 24
    stem_dims: int = 64
    stem_convs: int = 2
    convolved: Sequence[int] = ()
    d_state: int = 16
    ssm_ratio: float = 2.0
    d_conv: int = 7
    dt_rank: int | str = "auto"


_l1 = partial(PlainMambaArch, embed_dims=192, stem_convs=1, convolved=(0,))
_l2 = partial(PlainMambaArch, embed_dims=384)
_l3 = partial(PlainMambaArch, embed_dims=448, depth=36)


@MODELS.register_module()
class PlainMamba(AdaptedBackbone, MapBackbone):
    """PlainMamba's column, without a class token or a feed-forward layer.

    All maps have stride 16; each is normalised, the last by the classifier's norm. `…_det` stand in
    an adapter, as in its authors' detectors, with maps at strides 4, 8, 16 and 32. Its arguments
    are the fields of `PlainMambaArch` and those of every backbone (`MambaBackbone`).
    """

    KEY_MAP = _KEY_MAP
    PUBLISHED = _PUBLISHED_FILES
    SIZES = _SIZES
    FINAL_NORM = "ln1"
    Arch = PlainMambaArch
    ARCHS = dict(
        plainmamba_l1=_l1(drop_path_rate=0.2),
        plainmamba_l2=_l2(drop_path_rate=0.2),
        plainmamba_l3=_l3(drop_path_rate=0.4),
        plainmamba_l1_det=_l1(drop_path_rate=0.1, adapter=True),
        plainmamba_l2_det=_l2(drop_path_rate=0.2, adapter=True),
        plainmamba_l3_det=_l3(drop_path_rate=0.3, adapter=True, deform_num_heads=8),
    )
    TINY = dict(
        arch=dict(
            embed_dims=16,
            depth=4,
            stem_dims=4,
            stem_convs=1,
            convolved=(0,),
            d_state=4,
            d_conv=3,
            img_size=32,
            patch_size=8,
        )
    )

    def build(self, a: PlainMambaArch, in_channels: int) -> Column:
        mixer = a.pick("d_state", "ssm_ratio", "d_conv", "dt_rank")
        (rates,) = drop_path_rates(a.drop_path_rate, [a.depth])
        blocks = []
        for i, rate in enumerate(rates):
            op = ContinuousMixer(a.embed_dims, **mixer)
            # Over Mamba's own start of the step sizes, as in the original's training.
            op.apply(init_linears)
            if i in a.convolved:
                blocks.append(ConvolvedBlock(a.embed_dims, op, rate))
            else:
                blocks.append(MixerBlock(a.embed_dims, op, drop_path_rate=rate))
        norm = partial(LayerNorm, eps=1e-6)
        height, width = (-(-side // a.patch_size) for side in a.img_sides)
        stem = ConvPatchEmbed(in_channels, a.embed_dims, a.patch_size, a.stem_convs, a.stem_dims)
        return Column(
            patch_embed=stem,
            tokens=TokenEmbedding(a.embed_dims, (height, width)),
            stride=a.patch_size,
            blocks=blocks,
            norm=norm,
            out_norm=norm,
        )

    def _out_norm(self, n: int) -> str:
        i = self.out_indices[n]
        return self.FINAL_NORM if i + 1 == self.depth else f"norm_layer{i}"

    def _add_classifier(self, dim: int, num_classes: int) -> None:
        super()._add_classifier(dim, num_classes)
        nn.init.normal_(self.head.weight, std=0.01)
