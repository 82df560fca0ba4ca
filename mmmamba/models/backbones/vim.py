"""Vim, Vision Mamba (Zhu et al., arXiv 2401.09417, ICML 2024): a plain column of bidirectional mixers."""

from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.registry import MODELS

from mmmamba.checkpoints import Fingerprint, KeyMap, Repository, Size, token_positions
from mmmamba.layers import BidirectionalMixer

from ..trunks.column import PlainBackbone
from ..trunks.pyramid import arch_table

# Around the blocks: names of ours, and names that only classifiers have. Rotary tables are constants,
# made anew here.
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

_PUBLISHED = dict(cls_token="middle", halve=True, rotary=False)
_DENSE = dict(cls_token="none", halve=False, rotary=True, features="stream")


@MODELS.register_module()
class Vim(PlainBackbone):
    """Vim. `vim_t`, `vim_s`, `vim_b` are the published classifiers' columns, `…_seg`, `…_det` what its authors built
    for ADE20K and COCO; published weights fit the former (class token in the sequence, cut out of the maps).

    Args:
        arch: a name of `ARCHS` or a dict of the arguments that follow.
        embed_dims, depth: width and number of blocks.
        d_state, ssm_ratio, d_conv, dt_rank, halve: of `BidirectionalMixer`.
        img_size: side or (height, width) that the positions are learned for; they are resized to any other.
        patch_size, stride: of the patches; `stride` below `patch_size` makes them overlap.
        pad: fill the last patches with zeros; as published, rows and columns that fill none are dropped.
        cls_token: "none", "head" or "middle".
        rotary: turn both the stream and what is added to it at every block, by the token's row and column.
        norm: "rms" or "layer".
        features: "stream" (residual stream) or "mixer" (what the block adds to it).
        pyramid: bring the four outputs to strides 4, 8, 16, 32 as the authors do for segmentation, or to those given.
        drop_path_rate: at the end; it rises from 0.
        out_indices: blocks whose outputs are returned, by default four at equal distances.
        frozen_stages: -1 none, 0 the embeddings, n also the first n blocks.
        norm_eval, with_cp, init_cfg: as in mmdet's backbones.
        classifier: return ImageNet logits of `num_classes` instead of maps.
    """

    KEY_MAP = _KEY_MAP
    PUBLISHED = _PUBLISHED_FILES
    SIZES = _SIZES
    ARCHS = {
        **arch_table(
            _PUBLISHED,
            vim_t=dict(embed_dims=192),
            vim_s=dict(embed_dims=384, drop_path_rate=0.05),
            vim_b=dict(embed_dims=768),
            vim_t_stride8=dict(embed_dims=192, stride=8),
            vim_s_stride8=dict(embed_dims=384, stride=8),
        ),
        **arch_table(
            _DENSE,
            vim_t_seg=dict(
                embed_dims=192,
                halve=True,
                rotary=False,
                features="mixer",
                pyramid=True,
                img_size=512,
                drop_path_rate=0.1,
            ),
            vim_s_seg=dict(embed_dims=384, pyramid=True, img_size=512, drop_path_rate=0.1),
            vim_t_det=dict(embed_dims=192, img_size=1024, drop_path_rate=0.1),
            vim_s_det=dict(embed_dims=384, img_size=1024, drop_path_rate=0.1),
        ),
    }
    DEFAULTS = dict(
        depth=24,
        d_state=16,
        ssm_ratio=2.0,
        d_conv=4,
        dt_rank="auto",
        halve=True,
        img_size=224,
        patch_size=16,
        stride=16,
        pad=False,
        cls_token="middle",
        rotary=False,
        norm="rms",
        features="stream",
        pyramid=False,
        drop_path_rate=0.0,
    )
    TINY = dict(arch=dict(embed_dims=16, depth=4, d_state=4, img_size=64, rotary=True))

    def __init__(
        self,
        arch: str | Mapping[str, Any] = "vim_t",
        *,
        in_channels: int = 3,
        embed_dims: int | None = None,
        depth: int | None = None,
        d_state: int | None = None,
        ssm_ratio: float | None = None,
        d_conv: int | None = None,
        dt_rank: int | str | None = None,
        halve: bool | None = None,
        img_size: int | Sequence[int] | None = None,
        patch_size: int | None = None,
        stride: int | None = None,
        pad: bool | None = None,
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
            depth=depth,
            d_state=d_state,
            ssm_ratio=ssm_ratio,
            d_conv=d_conv,
            dt_rank=dt_rank,
            halve=halve,
            img_size=img_size,
            patch_size=patch_size,
            stride=stride,
            pad=pad,
            cls_token=cls_token,
            rotary=rotary,
            norm=norm,
            features=features,
            pyramid=pyramid,
            drop_path_rate=drop_path_rate,
        )
        mixer = {key: a.pop(key) for key in ("d_state", "ssm_ratio", "d_conv", "dt_rank", "halve")}
        dim, stride = a.pop("embed_dims"), a.pop("stride")
        embeddings = self._embeddings(
            in_channels,
            dim,
            a.pop("img_size"),
            a.pop("patch_size"),
            stride,
            a.pop("pad"),
            a.pop("cls_token"),
        )
        mixers = [BidirectionalMixer(dim, **mixer) for _ in range(a.pop("depth"))]
        a["rotary"] = "computed" if a["rotary"] else "none"
        self._assemble(
            *embeddings,
            mixers,
            dim,
            stride,
            out_norms=False,
            out_indices=out_indices,
            with_cp=with_cp,
            num_classes=num_classes if classifier else None,
            **a,
        )
