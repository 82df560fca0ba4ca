"""Vim, Vision Mamba (Zhu et al., arXiv 2401.09417, ICML 2024): a column of bidirectional mixers."""

from dataclasses import dataclass
from functools import partial

from mmengine.registry import MODELS

from mmmamba.checkpoints import Fingerprint, KeyMap, Repository, Size, token_positions
from mmmamba.layers import BidirectionalMixer, PatchEmbed, TokenEmbedding

from ..trunks.stream import Stream, StreamArch, StreamBackbone, stream_norm

# Around the blocks: names of ours, and names that only classifiers have. Rotary tables are
# constants, made anew here.
TOKENS = ((r"^(pos_embed|cls_token)$", r"tokens.\1"),)
CLASSIFIER = (r"norm_f\.(weight|bias)", r"head\.(weight|bias)", r"rope\.freqs_(cos|sin)")

_KEY_MAP = KeyMap(
    renames=TOKENS,
    resize=((r"tokens\.pos_embed", token_positions),),
    may_be_missing=(r"fpn\d\..*",),
    may_be_surplus=CLASSIFIER,
    fingerprint=Fingerprint(
        block=r"layers\.(\d+)\.mixer\.A_log",
        widths=(r"layers\.0\.norm\.weight",),
        variants={(24, 192): "vim_t", (24, 384): "vim_s", (24, 768): "vim_b"},
    ),
    mark=r"\.mixer\.A_b_log$",
    mark_is_inherited=True,
)

_file = Repository(
    source="https://github.com/hustvl/Vim",
    licence="Apache-2.0 (the repository's)",
    files="https://huggingface.co/hustvl/{}",
).file
# fmt: off
_PUBLISHED_FILES = (
    _file("vim_t", "classification", top1=76.1,
          at="Vim-tiny-midclstok/resolve/main/vim_t_midclstok_76p1acc.pth"),
    _file("vim_t_stride8", "classification", top1=78.3,
          at="Vim-tiny-midclstok/resolve/main/vim_t_midclstok_ft_78p3acc.pth"),
    _file("vim_s", "classification", top1=80.5,
          at="Vim-small-midclstok/resolve/main/vim_s_midclstok_80p5acc.pth"),
    _file("vim_s_stride8", "classification", top1=81.6,
          at="Vim-small-midclstok/resolve/main/vim_s_midclstok_ft_81p6acc.pth"),
    # This accuracy is that of the averaged weights, which lie beside the others in the file.
    _file("vim_b", "classification", top1=81.9, key="model_ema",
          at="Vim-base-midclstok/resolve/main/vim_b_midclstok_81p9acc.pth"),
)
# fmt: on
_SIZES = {
    "vim_t": Size("7", None),
    "vim_t_stride8": Size("7", None),
    "vim_s": Size("26", None),
    "vim_s_stride8": Size("26", None),
    "vim_b": Size("98", None),
}


@dataclass(frozen=True, kw_only=True)
class VimArch(StreamArch):
    """What a Vim's architecture says, beside `StreamArch`.

    Args:
        depth: number of blocks.
        halve: average the two directions of `BidirectionalMixer` instead of adding them.
        stride: from one patch to the next; below `patch_size` they overlap.
        pad: fill the last patches with zeros; as published, rows and columns that fill none are
            dropped.
        cls_token: "none", "head" or "middle".
        rotary: turn both the stream and what is added to it at every block, by the token's row and
            column.
    """

    depth: int = 24
    halve: bool = True
    stride: int = 16
    pad: bool = False
    cls_token: str = "middle"
    rotary: bool = False


_dense = partial(VimArch, cls_token="none", drop_path_rate=0.1)
# Their configs leave halving at its default, which was off when these models were trained and has
# been turned on since.
_rotary = partial(_dense, halve=False, rotary=True)


@MODELS.register_module()
class Vim(StreamBackbone):
    """Vim's column. `vim_t`, `vim_s`, `vim_b` are the published classifiers'.

    `…_seg` and `…_det` are what its authors built for ADE20K and COCO; published weights fit the
    former (class token in the sequence, cut out of the maps). Its arguments are the fields of
    `VimArch` and those of every backbone (`MambaBackbone`).
    """

    KEY_MAP = _KEY_MAP
    PUBLISHED = _PUBLISHED_FILES
    SIZES = _SIZES
    Arch = VimArch
    ARCHS = dict(
        vim_t=VimArch(embed_dims=192),
        vim_s=VimArch(embed_dims=384, drop_path_rate=0.05),
        vim_b=VimArch(embed_dims=768),
        vim_t_stride8=VimArch(embed_dims=192, stride=8),
        vim_s_stride8=VimArch(embed_dims=384, stride=8),
        vim_t_seg=_dense(embed_dims=192, features="mixer", pyramid=True, img_size=512),
        vim_s_seg=_rotary(embed_dims=384, pyramid=True, img_size=512),
        vim_t_det=_rotary(embed_dims=192, img_size=1024),
        vim_s_det=_rotary(embed_dims=384, img_size=1024),
    )
    TINY = dict(arch=dict(embed_dims=16, depth=4, d_state=4, img_size=64, rotary=True))

    def build(self, a: VimArch, in_channels: int) -> Stream:
        patch_embed = PatchEmbed(in_channels, a.embed_dims, a.patch_size, a.stride, a.pad)
        grid_size = patch_embed.grid_size(*a.img_sides)
        given = a.pick("d_state", "ssm_ratio", "d_conv", "dt_rank", "halve")
        return Stream(
            patch_embed=patch_embed,
            tokens=TokenEmbedding(a.embed_dims, grid_size, a.cls_token),
            stride=a.stride,
            blocks=[BidirectionalMixer(a.embed_dims, **given) for _ in range(a.depth)],
            norm=stream_norm(a.norm),
            rotary="computed" if a.rotary else "none",
        )
