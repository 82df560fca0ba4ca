"""LocalVMamba (Huang et al., arXiv 2403.09338): VMamba v0's stages, with four searched routes and a gate per block."""

from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.registry import MODELS

from mmmamba.checkpoints import OUTPUT_NORMS, Fingerprint, KeyMap, Repository, Size
from mmmamba.layers import (
    SS2D,
    GatedMerge,
    MixerBlock,
    NormPoolHead,
    PatchMerging,
    Stage,
    patch_stem,
)

from ..trunks.pyramid import PyramidBackbone, arch_table, drop_path_rates, init_linears
from .local_directions import LOCALVMAMBA_S, LOCALVMAMBA_T

_KEY_MAP = KeyMap(
    under=("state_dict", "model"),
    may_be_missing=(OUTPUT_NORMS,),
    may_be_surplus=(OUTPUT_NORMS, r"classifier\.(norm|head)\.(weight|bias)"),
    fingerprint=Fingerprint(
        block=r"layers\.(\d+)\.blocks\.(\d+)\.op\.A_logs",
        widths=(r"layers\.0\.blocks\.0\.norm\.weight",),
        variants={(2, 2, 9, 2, 96): "localvmamba_t", (2, 2, 27, 2, 96): "localvmamba_s"},
    ),
    mark=r"\.op\.multi_scan\.",
)

# LocalVim's authors too.
LOCALMAMBA = Repository(
    source="https://github.com/hunto/LocalMamba",
    licence="Apache-2.0 (the repository's)",
    files="https://github.com/hunto/LocalMamba/releases/download/v1.0.0/{}",
)
# fmt: off
_PUBLISHED_FILES = (
    LOCALMAMBA.file("localvmamba_s", "classification", top1=83.7, at="local_vssm_small.ckpt"),
)
# fmt: on
_SIZES = {
    "localvmamba_t": Size("26", "5.7", top1=82.7),
    "localvmamba_s": Size("50", "11.4"),
}

_BASE = dict(embed_dims=96, d_state=16, ssm_ratio=2.0, drop_path_rate=0.2)


@MODELS.register_module()
class LocalVMamba(PyramidBackbone):
    """LocalVMamba: SS2D blocks without feed-forward layers, each along its own four of eight routes.

    Args:
        arch: a name of `ARCHS` or a dict of the arguments that follow.
        embed_dims: width of the first stage; each later one doubles it.
        depths: blocks of each stage.
        d_state, ssm_ratio, dt_rank: of `SS2D`.
        directions: the routes of each block, one tuple a block, over all stages.
        drop_path_rate: of the last block, rising from 0.
        columns_as_published: on maps that are not square, put the outputs of column routes on the pixels where the
            published code does, which are the wrong ones (`misplace_columns`).
        out_indices, frozen_stages, norm_eval, with_cp, init_cfg: as in mmdet's backbones.
        classifier: return ImageNet logits of `num_classes` instead of maps.

    Raises:
        ValueError: an unknown arch, or not one tuple of directions for each block.
    """

    KEY_MAP = _KEY_MAP
    PUBLISHED = _PUBLISHED_FILES
    SIZES = _SIZES
    ARCHS = arch_table(
        _BASE,
        localvmamba_t=dict(depths=(2, 2, 9, 2), directions=LOCALVMAMBA_T),
        localvmamba_s=dict(depths=(2, 2, 27, 2), directions=LOCALVMAMBA_S),
    )
    DEFAULTS = dict(
        d_state=16, ssm_ratio=2.0, dt_rank="auto", drop_path_rate=0.0, columns_as_published=False
    )
    TINY = dict(
        arch=dict(embed_dims=16, depths=(1, 1, 2, 1), directions=LOCALVMAMBA_T[8:13], d_state=2)
    )

    def __init__(
        self,
        arch: str | Mapping[str, Any] = "localvmamba_t",
        *,
        in_channels: int = 3,
        embed_dims: int | None = None,
        depths: Sequence[int] | None = None,
        d_state: int | None = None,
        ssm_ratio: float | None = None,
        dt_rank: int | str | None = None,
        directions: Sequence[Sequence[str]] | None = None,
        drop_path_rate: float | None = None,
        columns_as_published: bool | None = None,
        out_indices: Sequence[int] = (0, 1, 2, 3),
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
            depths=depths,
            d_state=d_state,
            ssm_ratio=ssm_ratio,
            dt_rank=dt_rank,
            directions=directions,
            drop_path_rate=drop_path_rate,
            columns_as_published=columns_as_published,
        )
        if len(a["directions"]) != sum(a["depths"]):
            raise ValueError(
                f"directions of LocalVMamba are {len(a['directions'])}, wanted one tuple of routes for "
                f"each of the {sum(a['depths'])} blocks"
            )
        dims = [a["embed_dims"] * 2**i for i in range(len(a["depths"]))]
        mixer = {key: a[key] for key in ("d_state", "ssm_ratio", "dt_rank")} | dict(
            gate=True, conv_bias=True
        )
        directions = iter(a["directions"])
        stages = []
        for i, (dim, rates) in enumerate(
            zip(dims, drop_path_rates(a["drop_path_rate"], a["depths"]))
        ):
            blocks = []
            for rate, routes in zip(rates, directions):
                merge = GatedMerge(int(dim * a["ssm_ratio"]), routes, a["columns_as_published"])
                blocks.append(
                    MixerBlock(dim, SS2D(dim, routes=routes, merge=merge, **mixer), None, rate)
                )
            stages.append(
                Stage(
                    blocks, PatchMerging(dim, dims[i + 1]) if i + 1 < len(dims) else None, with_cp
                )
            )
        self._assemble(
            patch_stem(in_channels, dims[0]),
            stages,
            dims,
            out_indices,
            NormPoolHead(dims[-1], num_classes) if classifier else None,
        )
        self.apply(init_linears)
