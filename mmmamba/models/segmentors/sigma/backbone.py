"""Sigma's encoder (Wan et al., arXiv 2404.04256, WACV 2025): two aligned images, one VMamba.

The colour image and a thermal, depth or other one of the same size pass through the same VMamba of
the first generation; at each of its four levels a cross fusion and a concat fusion make one map of
the two.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

import torch
from mmengine.model import BaseModule
from mmengine.registry import MODELS
from torch import Tensor, nn

from mmmamba.checkpoints import Fingerprint, KeyMap, Repository
from mmmamba.checkpoints.strict_loading import StrictLoading
from mmmamba.layers import ConcatFusion, CrossFusion, channels_first, channels_last
from mmmamba.layers.packed import pack_plain_layers
from mmmamba.layers.recomputed import recomputed

from ...backbones.vmamba import VMamba
from ...trunks.arch import choose
from ...trunks.pyramid import PyramidArch
from .bare_parameters import freeze_bare_parameters

COLOURS = 3
"""Channels of the first image, and of each as the encoder takes it."""

# VMamba's ImageNet files begin the encoder: their names get its prefix, then those of theirs that
# are older become the new ones.
_KEY_MAP = KeyMap(
    renames=(
        (r"^(?=(patch_embed|layers|outnorm\d|classifier|norm|head)\.)", "vssm."),
        (r"^vssm\.patch_embed\.proj\.", "vssm.patch_embed.0."),
        (r"^vssm\.patch_embed\.norm\.", "vssm.patch_embed.2."),
        (r"^(vssm\..*\.blocks\.\d+)\.ln_1\.", r"\1.norm."),
        (r"^(vssm\..*\.blocks\.\d+)\.self_attention\.", r"\1.op."),
        (r"^vssm\.(norm|head)\.", r"vssm.classifier.\1."),
    ),
    squeeze=(r"vssm\..*\.op\.(in_proj|out_proj)\.weight",),
    may_be_missing=(r"vssm\.outnorm\d+\.(weight|bias)", r"(cross|channel_attn)_mamba\..*"),
    may_be_surplus=(r"vssm\.classifier\.(norm|head)\.(weight|bias)",),
    fingerprint=Fingerprint(
        block=r"vssm\.layers\.(\d+)\.blocks\.(\d+)\.op\.A_logs",
        widths=(r"vssm\.layers\.0\.blocks\.0\.norm\.weight",),
        variants={
            (2, 2, 9, 2, 96): "sigma_t",
            (2, 2, 27, 2, 96): "sigma_s",
            (2, 2, 27, 2, 128): "sigma_b",
        },
    ),
    mark=r"cross_mamba\.0\.op\.CMA_ssm\.x_proj_1\.weight$",
    starts_from=("VMamba",),
)

_file = partial(
    Repository(
        source="https://github.com/zifuwan/Sigma",
        licence="MIT (the repository's; none is stated for the weights)",
        files="https://drive.google.com/file/d/{}/view",
    ).file,
    page=True,
)
# fmt: off
_PUBLISHED_FILES = (
    _file("sigma_t", "sigma_mfnet-480x640", miou=60.2,
          at="1N9UU9G5K8qxKsZOuEzSLiCGXC5XCaMaU"),
    _file("sigma_t", "sigma_pst900-720x1280", miou=88.6,
          at="1Qx_alwSmxj_8TqCO0RD6VQvhcwp-RQ-e"),
    _file("sigma_t", "sigma_nyu-depth-v2-480x640", miou_ms=53.9,
          at="15p2EePJj2sGKoIxXUxMNHq7vvplC8Gcd"),
    _file("sigma_t", "sigma_sun-rgbd-480x640", miou_ms=50.0,
          at="16mHj7AiEjkIWm77wBHO0dn7DQbGMljTM"),
    _file("sigma_s", "sigma_mfnet-480x640", miou=61.1,
          at="1heHnyvDTSa2oYxAD5wcgpIY3OZ198Cr2"),
    _file("sigma_s", "sigma_pst900-720x1280", miou=87.8,
          at="1iHL0fLtV7F2s7tm_OrCq7vsqYJPuIF6q"),
    _file("sigma_s", "sigma_nyu-depth-v2-480x640", miou_ms=57.0,
          at="17afDv4BN69m66N3pfwTFnpBSXIUvlkwk"),
    _file("sigma_s", "sigma_sun-rgbd-480x640", miou_ms=52.4,
          at="1PC8_Oj-m4yf-k6BQ4gBlGUdyOnG3xTsP"),
    _file("sigma_b", "sigma_mfnet-480x640", miou=61.3,
          at="1an6pqLeEYHZZLOmfyY8A3ooKP8ZVMU93"),
)
# fmt: on


@dataclass(frozen=True, kw_only=True)
class SigmaArch(PyramidArch):
    """What the architecture of Sigma's encoder says, beside `PyramidArch`.

    Args:
        d_state: states of the encoder's scans.
        fusion_d_state: of the fusions'.
    """

    d_state: int = 16
    fusion_d_state: int = 4


_96 = partial(SigmaArch, embed_dims=96)


class Fusion(nn.Module):
    """A fusion under the name that Sigma's files give it, `op`."""

    def __init__(self, op: nn.Module):
        super().__init__()
        self.op = op

    def forward(self, x_PBHWC: Tensor) -> Tensor:
        return self.op(x_PBHWC)


@MODELS.register_module()
class SigmaBackbone(StrictLoading, BaseModule):
    """Pairs of images `(B, 3 + n, H, W)` to four fused maps, not normalised.

    The first three channels are one image, those behind them the other: three, or one that is
    repeated. `init_cfg=dict(type="Pretrained", checkpoint=...)` takes files of Sigma, and
    ImageNet weights of VMamba's first generation, from which the encoder starts.

    Args:
        arch: a name of `ARCHS`, or a dict of the fields of `SigmaArch`.
        in_channels: 6, or 4.
        embed_dims, depths, drop_path_rate, d_state, fusion_d_state: fields of `SigmaArch`, in place
            of what `arch` says.
        frozen_stages: of the encoder, as in `MambaBackbone`.
        train_state_space: False leaves every parameter that stands in no layer of its own where it
            started (`bare_parameters`: A, D, step sizes and projections of the scans), as the
            authors' runs did.
        with_cp: compute what is inside blocks and fusions again in the backward pass.

    Attributes:
        out_channels, out_strides: of the maps.

    Raises:
        ValueError: other `in_channels`, an unknown arch, or a value that does not fit.
    """

    KEY_MAP = _KEY_MAP
    PUBLISHED = _PUBLISHED_FILES
    ARCHS: Mapping[str, SigmaArch] = dict(
        sigma_t=_96(depths=(2, 2, 9, 2), drop_path_rate=0.2),
        sigma_s=_96(depths=(2, 2, 27, 2), drop_path_rate=0.3),
        sigma_b=SigmaArch(embed_dims=128, depths=(2, 2, 27, 2), drop_path_rate=0.6),
    )
    TINY = dict(arch=dict(embed_dims=16, depths=(1, 1, 2, 1)))

    def __init__(
        self,
        arch: str | Mapping | SigmaArch = "sigma_t",
        *,
        in_channels: int = 2 * COLOURS,
        embed_dims: int | None = None,
        depths: tuple[int, ...] | None = None,
        drop_path_rate: float | None = None,
        d_state: int | None = None,
        fusion_d_state: int | None = None,
        frozen_stages: int = -1,
        train_state_space: bool = True,
        with_cp: bool = False,
        init_cfg: dict | None = None,
    ):
        super().__init__(init_cfg)
        if in_channels not in (COLOURS + 1, 2 * COLOURS):
            raise ValueError(
                f"in_channels of SigmaBackbone is {in_channels}, wanted 6 (a colour image and "
                "another of three channels) or 4 (the other of one, which is repeated)"
            )
        changes = dict(
            embed_dims=embed_dims,
            depths=depths,
            drop_path_rate=drop_path_rate,
            d_state=d_state,
            fusion_d_state=fusion_d_state,
        )
        a = choose("SigmaBackbone", SigmaArch, self.ARCHS, arch, changes)
        assert isinstance(a, SigmaArch)
        self.in_channels, self.with_cp = in_channels, with_cp
        of_encoder = a.pick("embed_dims", "depths", "drop_path_rate", "d_state")
        self.vssm = VMamba(
            replace(VMamba.ARCHS["vmamba_v0_t"], **of_encoder),
            frozen_stages=frozen_stages,
            with_cp=with_cp,
        )
        self.out_indices = self.vssm.out_indices
        self.out_channels, self.out_strides = self.vssm.out_channels, self.vssm.out_strides
        self.cross_mamba = nn.ModuleList(
            Fusion(CrossFusion(dim, a.fusion_d_state)) for dim in self.out_channels
        )
        self.channel_attn_mamba = nn.ModuleList(
            Fusion(ConcatFusion(dim, a.fusion_d_state)) for dim in self.out_channels
        )
        pack_plain_layers(self)
        if not train_state_space:
            freeze_bare_parameters(self)

    def forward(self, x_BCHW: Tensor) -> tuple[Tensor, ...]:
        """The fused maps `(B, C, H, W)`, channels-last in memory.

        Raises:
            ValueError: images of other channels.
        """
        return tuple(channels_first(self.fused(i, m)) for i, m in enumerate(self.pairs(x_BCHW)))

    def pairs(self, x_BCHW: Tensor) -> list[Tensor]:
        """The encoder's maps of both images, `(2, B, H, W, C)` each."""
        if x_BCHW.shape[1] != self.in_channels:
            raise ValueError(
                f"SigmaBackbone got images of {x_BCHW.shape[1]} channels, wanted {self.in_channels}"
                f": three of colour and {self.in_channels - COLOURS} of the second image"
            )
        first, second = x_BCHW[:, :COLOURS], x_BCHW[:, COLOURS:]
        # As one batch: the weights are the same, and no norm looks beyond an image.
        both = torch.cat([first, second.expand_as(first)])
        return [channels_last(m).unflatten(0, (2, -1)) for m in self.vssm(both)]

    def fused(self, i: int, x_PBHWC: Tensor) -> Tensor:
        """One map `(B, H, W, C)` of the two of a level."""
        for fusion in (self.cross_mamba[i], self.channel_attn_mamba[i]):
            keeps_all = not (self.with_cp and x_PBHWC.requires_grad)
            x_PBHWC = fusion(x_PBHWC) if keeps_all else recomputed(fusion, x_PBHWC)
        return x_PBHWC
