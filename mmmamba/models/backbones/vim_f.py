"""Vim-F (Zhang et al., arXiv 2405.18679): Vim's column, to whose tokens their spectrum is added."""

from dataclasses import dataclass
from functools import partial

from mmengine.registry import MODELS

from mmmamba.checkpoints import Fingerprint, KeyMap, Repository, Size, token_positions
from mmmamba.layers import (
    AddSpectrum,
    BidirectionalMixer,
    ConvPatchEmbed,
    SpectralMixer,
    TokenEmbedding,
)

from ..trunks.stream import Stream, StreamArch, StreamBackbone, stream_norm
from .vim import CLASSIFIER, TOKENS

_KEY_MAP = KeyMap(
    renames=(
        *TOKENS,
        (r"^patch_embed\.cnn_downsample_layers\.", "patch_embed."),
        (r"^patch_embed\.sup_c$", "patch_embed.spectrum.weight"),
        (r"^(layers\.\d+)\.stack$", r"\1.mixer.spectrum.weight"),
        (r"^(layers\.\d+)\.mlp\.", r"\1.mixer.mlp."),
    ),
    resize=((r"tokens\.pos_embed", token_positions),),
    may_be_missing=(r"fpn\d\..*",),
    may_be_surplus=CLASSIFIER,
    fingerprint=Fingerprint(
        block=r"layers\.(\d+)\.mixer\.A_log",
        widths=(r"layers\.0\.norm\.weight",),
        variants={
            (24, 192): "vim_f_t or vim_f_t_stride8 or vim_f_v1_t",
            (24, 384): "vim_f_s or vim_f_v1_s",
        },
    ),
    mark=r"^patch_embed\.cnn_downsample_layers\.|\.spectrum\.weight$",
)

_file = Repository(
    source="https://github.com/yws-wxs/Vim-F",
    licence="none stated",
    files="https://github.com/yws-wxs/Vim-F/releases/download/{}",
).file
# fmt: off
_PUBLISHED_FILES = (
    _file("vim_f_t", "classification", top1=76.7, at="v1.0.0.3/v2-ti-f-ckp.pth"),
    _file("vim_f_v1_t", "classification", top1=76.0, at="v1.0.0.2/Ti_pre_checkpoint.pth",
          note="trained and measured with spectra of other images of the batch; here each has "
               "its own"),
    _file("vim_f_v1_s", "classification", top1=80.5, at="v1.0.0.2/S_pre_checkpoint.pth",
          note="as vim_f_v1_t; if the file holds pos_embed, abs_pos_embed=True takes it"),
)
# fmt: on
# Counted, as the authors print none that is known.
_SIZES = {
    "vim_f_t": Size("7.4", None),
    "vim_f_s": Size("27.1", None, top1=80.9),
    "vim_f_v1_t": Size("7.1", None),
    "vim_f_v1_s": Size("26.0", None),
}


@dataclass(frozen=True, kw_only=True)
class VimFArch(StreamArch):
    """What a Vim-F's architecture says, beside `StreamArch`.

    `patch_size` is the stride of the stem, whose patches overlap: 16 or 8.

    Args:
        depth: number of blocks.
        stem_dims: width of the stem's first convolution; the second has half of `embed_dims`.
        spectral_blocks: how many blocks, from the first, add the spectrum of their sequence.
        spectral_stem: add the spectrum of the patches to them, its frequency 0 in the middle.
        abs_pos_embed: add learned positions, for the map of `img_size`; else `img_size` says
            nothing.
    """

    depth: int = 24
    stem_dims: int = 48
    spectral_blocks: int = 8
    spectral_stem: bool = False
    abs_pos_embed: bool = False


# What its authors published first, and their README called (H).
_v1 = partial(VimFArch, spectral_blocks=0, spectral_stem=True)


@MODELS.register_module()
class VimF(StreamBackbone):
    """Vim-F's column, a class token in its middle. `vim_f_v1_…` are the authors' first generation.

    Each image has its own spectrum; the first generation's authors gave it another's of the batch.
    Its arguments are the fields of `VimFArch` and those of every backbone (`MambaBackbone`).
    """

    KEY_MAP = _KEY_MAP
    PUBLISHED = _PUBLISHED_FILES
    SIZES = _SIZES
    Arch = VimFArch
    ARCHS = dict(
        vim_f_t=VimFArch(embed_dims=192),
        vim_f_s=VimFArch(embed_dims=384, drop_path_rate=0.05),
        vim_f_t_stride8=VimFArch(embed_dims=192, patch_size=8),
        vim_f_v1_t=_v1(embed_dims=192),
        vim_f_v1_s=_v1(embed_dims=384, drop_path_rate=0.05),
    )
    TINY = dict(
        arch=dict(
            embed_dims=16, depth=4, stem_dims=8, spectral_blocks=2, spectral_stem=True, d_state=4
        )
    )

    def build(self, a: VimFArch, in_channels: int) -> Stream:
        dim = a.embed_dims
        patch_embed = ConvPatchEmbed(in_channels, (a.stem_dims, dim // 2, dim), a.patch_size)
        if a.spectral_stem:
            patch_embed.add_module("spectrum", AddSpectrum(shift=True))
        given = a.pick("d_state", "ssm_ratio", "d_conv", "dt_rank")
        plain = a.depth - a.spectral_blocks
        mixers = [SpectralMixer] * a.spectral_blocks + [BidirectionalMixer] * plain
        return Stream(
            patch_embed=patch_embed,
            tokens=TokenEmbedding(
                dim, patch_embed.grid_size(*a.img_sides), "middle", a.abs_pos_embed
            ),
            stride=a.patch_size,
            blocks=[mixer(dim, **given) for mixer in mixers],
            norm=stream_norm(a.norm),
        )
