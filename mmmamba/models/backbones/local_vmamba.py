"""LocalVMamba (Huang et al., arXiv 2403.09338): VMamba v0 on searched routes, with gates."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from mmengine.registry import MODELS
from torch import nn

from mmmamba.checkpoints import OUTPUT_NORMS, Fingerprint, KeyMap, Repository, Size
from mmmamba.layers import SS2D, GatedMerge, MixerBlock, PatchMerging, patch_stem

from ..trunks.pyramid import Pyramid, PyramidArch, PyramidBackbone
from .local_routes import LOCALVMAMBA_S, LOCALVMAMBA_T

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


@dataclass(frozen=True, kw_only=True)
class LocalVMambaArch(PyramidArch):
    """What a LocalVMamba's architecture says, beside `PyramidArch`.

    Args:
        routes: the routes of each block, one tuple a block, over all stages.
        d_state, ssm_ratio, dt_rank: of `SS2D`.
        columns_as_published: on maps that are not square, put the outputs of column routes on the
            pixels where the published code does, which are the wrong ones (`misplace_columns`).
    """

    routes: Sequence[Sequence[str]]
    d_state: int = 16
    ssm_ratio: float = 2.0
    dt_rank: int | str = "auto"
    columns_as_published: bool = False


_published = partial(LocalVMambaArch, embed_dims=96, drop_path_rate=0.2)


@MODELS.register_module()
class LocalVMamba(PyramidBackbone):
    """SS2D blocks without feed-forward layers, each along its own four of eight routes.

    Its arguments are the fields of `LocalVMambaArch` and those of every backbone (`MambaBackbone`).

    Raises:
        ValueError: not one tuple of routes for each block.
    """

    KEY_MAP = _KEY_MAP
    PUBLISHED = _PUBLISHED_FILES
    SIZES = _SIZES
    Arch = LocalVMambaArch
    ARCHS = dict(
        localvmamba_t=_published(depths=(2, 2, 9, 2), routes=LOCALVMAMBA_T),
        localvmamba_s=_published(depths=(2, 2, 27, 2), routes=LOCALVMAMBA_S),
    )
    TINY = dict(
        arch=dict(embed_dims=16, depths=(1, 1, 2, 1), routes=LOCALVMAMBA_T[8:13], d_state=2)
    )

    def build(self, a: LocalVMambaArch, in_channels: int) -> Pyramid:
        if len(a.routes) != sum(a.depths):
            raise ValueError(
                f"routes of LocalVMamba are {len(a.routes)}, wanted one tuple of routes for each "
                f"of the {sum(a.depths)} blocks"
            )
        mixer = a.pick("d_state", "ssm_ratio", "dt_rank")

        def block(i: int, j: int, dim: int, drop_path_rate: float) -> nn.Module:
            # The table counts blocks through all stages.
            routes = a.routes[sum(a.depths[:i]) + j]
            merge = GatedMerge(int(dim * a.ssm_ratio), routes, a.columns_as_published)
            ss2d = SS2D(dim, routes=routes, merge=merge, gate=True, conv_bias=True, **mixer)
            return MixerBlock(dim, ss2d, None, drop_path_rate)

        return Pyramid(stem=partial(patch_stem, in_channels), block=block, downsample=PatchMerging)
