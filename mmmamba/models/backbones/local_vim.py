"""LocalVim (Huang et al., arXiv 2403.09338): a plain column whose blocks read the map each along its own routes."""

from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.registry import MODELS
from torch import nn

from mmmamba.checkpoints import Fingerprint, KeyMap, Size, token_positions
from mmmamba.layers import RouteMixer

from ..trunks.column import PlainBackbone
from ..trunks.pyramid import arch_table, init_linears
from .local_directions import LOCALVIM, LOCALVIM_WITHOUT_SEARCH, Directions
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

_TINY, _SMALL = dict(embed_dims=192), dict(embed_dims=384)


@MODELS.register_module()
class LocalVim(PlainBackbone):
    """LocalVim. Each output is what a block's mixer returns, without the residual stream, normalised.

    Args:
        arch: a name of `ARCHS` or a dict of the arguments that follow.
        embed_dims: width.
        routes: one tuple of names of `mmmamba.ops.routes` for each block.
        d_state, ssm_ratio, d_conv, dt_rank, columns_as_published: of `RouteMixer`.
        img_size: side or (height, width) that the positions and rotary tables are made for; resized to any other.
        patch_size: of the patches; images are padded with zeros at the bottom and right to whole patches.
        cls_token: "none" or "middle" ("head" was never published).
        rotary: turn both the stream and what is added to it at every block, by the token's row and column.
        norm: "rms", what the published weights have, or "layer", as the authors' detection and segmentation configs.
        features: "mixer", as published, or "stream".
        pyramid: bring the four outputs to strides 4, 8, 16, 32 as Vim does for segmentation, or to the strides given.
        drop_path_rate: at the end; it rises from 0.
        out_indices: blocks whose outputs are returned, by default four at equal distances.
        frozen_stages: -1 none, 0 the embeddings, n also the first n blocks.
        norm_eval, with_cp, init_cfg: as in mmdet's backbones.
        classifier: return ImageNet logits of `num_classes` instead of maps.
    """

    KEY_MAP = _KEY_MAP
    PUBLISHED = _PUBLISHED_FILES
    SIZES = _SIZES
    ARCHS = arch_table(
        dict(drop_path_rate=0.1),
        localvim_t=dict(_TINY, routes=LOCALVIM),
        localvim_s=dict(_SMALL, routes=LOCALVIM),
        localvim_t_midcls=dict(_TINY, routes=LOCALVIM, cls_token="middle", rotary=False),
        localvim_t_wo_search=dict(_TINY, routes=LOCALVIM_WITHOUT_SEARCH),
        localvim_s_wo_search=dict(_SMALL, routes=LOCALVIM_WITHOUT_SEARCH),
    )
    DEFAULTS = dict(
        d_state=16,
        ssm_ratio=2.0,
        d_conv=4,
        dt_rank="auto",
        columns_as_published=False,
        img_size=224,
        patch_size=16,
        cls_token="none",
        rotary=True,
        norm="rms",
        features="mixer",
        pyramid=False,
        drop_path_rate=0.0,
    )
    TINY = dict(
        arch=dict(embed_dims=16, routes=LOCALVIM[:2] + LOCALVIM[-2:], d_state=4, img_size=64)
    )

    def __init__(
        self,
        arch: str | Mapping[str, Any] = "localvim_t",
        *,
        in_channels: int = 3,
        embed_dims: int | None = None,
        routes: Directions | None = None,
        d_state: int | None = None,
        ssm_ratio: float | None = None,
        d_conv: int | None = None,
        dt_rank: int | str | None = None,
        columns_as_published: bool | None = None,
        img_size: int | Sequence[int] | None = None,
        patch_size: int | None = None,
        cls_token: str | None = None,
        rotary: bool | None = None,
        norm: str | None = None,
        features: str | None = None,
        pyramid: bool | Sequence[int] | None = None,
        drop_path_rate: float | None = None,
        out_indices: Sequence[int] | None = None,
        frozen_stages: int = -1,
        norm_eval: bool = False,
        with_cp: bool = False,
        classifier: bool = False,
        num_classes: int = 1000,
        init_cfg: dict | None = None,
    ):
        super().__init__(frozen_stages, norm_eval, init_cfg)
        a = self._choose(
            arch,
            embed_dims=embed_dims,
            routes=routes,
            d_state=d_state,
            ssm_ratio=ssm_ratio,
            d_conv=d_conv,
            dt_rank=dt_rank,
            columns_as_published=columns_as_published,
            img_size=img_size,
            patch_size=patch_size,
            cls_token=cls_token,
            rotary=rotary,
            norm=norm,
            features=features,
            pyramid=pyramid,
            drop_path_rate=drop_path_rate,
        )
        mixer = {
            key: a.pop(key)
            for key in ("d_state", "ssm_ratio", "d_conv", "dt_rank", "columns_as_published")
        }
        dim, stride = a.pop("embed_dims"), a.pop("patch_size")
        embeddings = self._embeddings(
            in_channels, dim, a.pop("img_size"), stride, stride, True, a.pop("cls_token")
        )
        mixers = [RouteMixer(dim, block, **mixer) for block in a.pop("routes")]
        for module in mixers:
            # Over the mixers' own start of dt_proj, as in the original's training; out_proj keeps its own.
            out = module.out_proj.weight.data.clone()
            module.apply(init_linears)
            module.out_proj.weight.data.copy_(out)
        a["rotary"] = "resized" if a["rotary"] else "none"
        self._assemble(
            *embeddings,
            mixers,
            dim,
            stride,
            out_norms=True,
            out_indices=out_indices,
            with_cp=with_cp,
            num_classes=num_classes if classifier else None,
            **a,
        )
        if self.tokens.cls_token is not None:
            nn.init.zeros_(self.tokens.cls_token)
