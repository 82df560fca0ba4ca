"""LocalVim (Huang et al., arXiv 2403.09338): a column, each block on routes of its own."""

from dataclasses import dataclass
from functools import partial

from mmengine.registry import MODELS
from torch import nn

from mmmamba.checkpoints import Fingerprint, KeyMap, Size, token_positions
from mmmamba.layers import LayerNorm, PatchEmbed, RouteMixer, TokenEmbedding

from ..trunks.base import init_linears
from ..trunks.stream import Stream, StreamArch, StreamBackbone, stream_norm
from .local_routes import LOCALVIM, LOCALVIM_WITHOUT_SEARCH, BlockRoutes
from .local_vmamba import LOCALMAMBA
from .vim import CLASSIFIER, TOKENS

# The authors' dense configs load the scales of RMS norms into layer norms: biases may be missing.
_KEY_MAP = KeyMap(
    under=("state_dict", "model"),
    renames=TOKENS,
    resize=((r"tokens\.pos_embed", token_positions),),
    may_be_missing=(r"outnorm_\d\.(weight|bias)", r"layers\.\d+\.norm\.bias", r"fpn\d\..*"),
    may_be_surplus=(r"outnorm_\d\.(weight|bias)", *CLASSIFIER),
    fingerprint=Fingerprint(
        block=r"layers\.(\d+)\.mixer\.A_log_0",
        widths=(r"layers\.0\.norm\.weight",),
        variants={(20, 192): "localvim_t", (20, 384): "localvim_s"},
    ),
    mark=r"\.mixer\.A_log_\d$",
)

# fmt: off
_PUBLISHED_FILES = (
    LOCALMAMBA.file("localvim_t", "classification", top1=76.2, at="local_vim_tiny.ckpt"),
    LOCALMAMBA.file("localvim_t_midcls", "classification", top1=77.8,
                    at="local_vim_tiny_middle_cls_token.ckpt"),
)
# fmt: on
_SIZES = {
    "localvim_t": Size("8", "1.5"),
    "localvim_t_midcls": Size("8", "1.5"),
    "localvim_t_wo_search": Size("8", "1.5", top1=75.8),
    "localvim_s": Size("28", "4.8", top1=81.1),
    "localvim_s_wo_search": Size("28", "4.8", top1=81.0),
}


@dataclass(frozen=True, kw_only=True)
class LocalVimArch(StreamArch):
    """What a LocalVim's architecture says, beside `StreamArch`.

    Published weights have the norm "rms", the authors' detection and segmentation configs "layer".
    Images are padded with zeros at the bottom and right to whole patches.

    Args:
        routes: one tuple of names of `mmmamba.ops.routes` for each block.
        columns_as_published: of `RouteMixer`.
        cls_token: "none" or "middle" ("head" was never published).
        rotary: turn both the stream and what is added to it at every block, by the token's row and
            column; the table is made for `img_size` and resized to any other.
    """

    routes: BlockRoutes
    columns_as_published: bool = False
    cls_token: str = "none"
    rotary: bool = True
    features: str = "mixer"


_tiny = partial(LocalVimArch, embed_dims=192, drop_path_rate=0.1)
_small = partial(LocalVimArch, embed_dims=384, drop_path_rate=0.1)


@MODELS.register_module()
class LocalVim(StreamBackbone):
    """LocalVim. Each output is what a block's mixer returns, without the stream, normalised.

    Its arguments are the fields of `LocalVimArch` and those of every backbone (`MambaBackbone`).
    """

    KEY_MAP = _KEY_MAP
    PUBLISHED = _PUBLISHED_FILES
    SIZES = _SIZES
    Arch = LocalVimArch
    ARCHS = dict(
        localvim_t=_tiny(routes=LOCALVIM),
        # The authors' code defines their small one twice, and the later one, without search, is
        # what their name gives; their detection and segmentation configs have the searched routes.
        localvim_s=_small(routes=LOCALVIM),
        localvim_t_midcls=_tiny(routes=LOCALVIM, cls_token="middle", rotary=False),
        localvim_t_wo_search=_tiny(routes=LOCALVIM_WITHOUT_SEARCH),
        localvim_s_wo_search=_small(routes=LOCALVIM_WITHOUT_SEARCH),
    )
    TINY = dict(
        arch=dict(embed_dims=16, routes=LOCALVIM[:2] + LOCALVIM[-2:], d_state=4, img_size=64)
    )

    def build(self, a: LocalVimArch, in_channels: int) -> Stream:
        dim, stride = a.embed_dims, a.patch_size
        patch_embed = PatchEmbed(in_channels, dim, a.patch_size, stride, pad=True)
        tokens = TokenEmbedding(dim, patch_embed.grid_size(*a.img_sides), a.cls_token)
        given = a.pick("d_state", "ssm_ratio", "d_conv", "dt_rank", "columns_as_published")
        mixers = [RouteMixer(dim, routes, **given) for routes in a.routes]
        for mixer in mixers:
            # Over the mixers' own start of dt_proj, as in the original's training; out_proj keeps
            # its own.
            out_proj = mixer.out_proj.weight.data.clone()
            mixer.apply(init_linears)
            mixer.out_proj.weight.data.copy_(out_proj)
        if tokens.cls_token is not None:
            # Zero as in the original; `TokenEmbedding` starts it at random.
            nn.init.zeros_(tokens.cls_token)
        return Stream(
            patch_embed=patch_embed,
            tokens=tokens,
            stride=stride,
            blocks=mixers,
            norm=stream_norm(a.norm),
            out_norm=LayerNorm,
            rotary="resized" if a.rotary else "none",
        )
