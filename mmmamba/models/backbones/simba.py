"""SiMBA (Patro and Agneeswaran, arXiv 2403.15360): Mamba's mixer, and layers of the spectrum."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from mmengine.registry import MODELS
from torch import Tensor, nn

from mmmamba.checkpoints import Fingerprint, KeyMap, Size
from mmmamba.layers import CausalMixer, ConvMlp, LayerNorm, MixerBlock, Mlp, SpectralMlp

from ..trunks.arch import one_of
from ..trunks.pyramid import Pyramid, PyramidArch, check_per_stage
from .wave_frame import (
    FRAME_NAMES,
    OF_CLASSIFIER,
    TOKEN_LABEL_NAMES,
    TokenLabelBackbone,
)

# Their authors published no weights: this reads what their code would train.
_KEY_MAP = KeyMap(
    under=("state_dict", "model"),
    renames=(
        *FRAME_NAMES,
        *TOKEN_LABEL_NAMES,
        (r"\.attn\.norm\.", ".norm."),
        (r"\.attn\.mamba\.", ".op."),
    ),
    may_be_surplus=(OF_CLASSIFIER,),
    fingerprint=Fingerprint(
        block=r"layers\.(\d+)\.blocks\.(\d+)\.op\.A_log",
        widths=(r"layers\.0\.norm\.weight", r"layers\.3\.norm\.weight"),
        variants={
            (3, 4, 6, 3, 64, 448): "simba_s or simba_s_einfft",
            (3, 4, 12, 3, 64, 512): "simba_b or simba_b_einfft",
            (3, 6, 18, 3, 96, 512): "simba_l or simba_l_einfft",
        },
    ),
    mark=r"\.attn\.mamba\.A_log$|^layers\.\d+\.blocks\.\d+\.op\.A_log$",
)

# The authors give no figure for the large one with convolutions: "unstable".
_SIZES = {
    "simba_s": Size("26.5", "5.0", top1=84.0),
    "simba_b": Size("40.0", "9.0", top1=84.7),
    "simba_s_einfft": Size("15.3", "2.4", top1=81.7),
    "simba_b_einfft": Size("22.8", "4.2", top1=83.5),
    "simba_l_einfft": Size("36.6", "7.6", top1=84.4),
}

MLPS = ("conv", "spectral")


class SiMBABlock(MixerBlock):
    """`MixerBlock` whose second norm has an epsilon of 1e-6."""

    def __init__(self, dim: int, mixer: nn.Module, mlp: nn.Module, drop_path_rate: float = 0.0):
        super().__init__(dim, mixer, mlp, drop_path_rate)
        # The spectrum is taken in full precision.
        self.norm2 = LayerNorm(dim, eps=1e-6, feeds_linear=not isinstance(mlp, SpectralMlp))


class ClassBlock(SiMBABlock):
    """A block of the class token, a map of one cell, which looks at no other."""

    def forward(self, token_B11C: Tensor, x_BHWC: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(token_B11C)


@dataclass(frozen=True, kw_only=True)
class SiMBAArch(PyramidArch):
    """What a SiMBA's architecture says, beside `PyramidArch`.

    Args:
        stem_hidden_dim: channels of the stem's first three convolutions.
        mlp: "conv" for feed-forward layers with a convolution, "spectral" for EinFFT.
        mlp_ratios: widening of each stage's feed-forward layers, where they are "conv".
        d_state, ssm_ratio, d_conv, dt_rank: of `CausalMixer`.
        token_label: let a classifier have the dense head that its authors trained with token
            labels, half of whose largest logits are added.
    """

    stem_hidden_dim: int = 64
    mlp: str = "conv"
    mlp_ratios: Sequence[float] = (8, 8, 4, 4)
    d_state: int = 64
    ssm_ratio: float = 2.0
    d_conv: int = 4
    dt_rank: int | str = "auto"
    token_label: bool = True
    drop_path_rate: float = 0.1


_s = partial(SiMBAArch, embed_dims=(64, 128, 320, 448), depths=(3, 4, 6, 3), stem_hidden_dim=32)
_b = partial(SiMBAArch, embed_dims=(64, 128, 320, 512), depths=(3, 4, 12, 3))
_l = partial(SiMBAArch, embed_dims=(96, 192, 384, 512), depths=(3, 6, 18, 3), drop_path_rate=0.3)


@MODELS.register_module()
class SiMBA(TokenLabelBackbone):
    """Four stages of Mamba's mixer along the rows, one way, as in its authors' code.

    (Their paper draws a scan from the end beside it.) `simba_…_einfft` have feed-forward layers of
    the spectrum (`SpectralMlp`), the others convolutions. Step sizes start at softplus of 0, as in
    its authors' training. A stage's map is normalised, and so goes on to the next. Its arguments
    are the fields of `SiMBAArch` and those of every backbone (`MambaBackbone`).

    Raises:
        ValueError: not one of `mlp_ratios` for each stage, another `mlp`, or widths that are no
            multiple of 4 where it is "spectral".
    """

    KEY_MAP = _KEY_MAP
    SIZES = _SIZES
    Arch = SiMBAArch
    ARCHS = dict(
        simba_s=_s(),
        simba_b=_b(),
        simba_l=_l(),
        simba_s_einfft=_s(mlp="spectral"),
        simba_b_einfft=_b(mlp="spectral"),
        simba_l_einfft=_l(mlp="spectral"),
    )
    TINY = dict(
        arch=dict(
            embed_dims=(8, 16, 16, 32),
            depths=(1, 1, 1, 1),
            stem_hidden_dim=8,
            mlp="spectral",
            mlp_ratios=(2, 2, 2, 2),
            d_state=8,
        )
    )

    def build(self, a: SiMBAArch, in_channels: int) -> Pyramid:
        check_per_stage("SiMBA", len(a.depths), mlp_ratios=a.mlp_ratios)
        spectral = one_of("mlp", a.mlp, MLPS) == "spectral"
        mixer = partial(CausalMixer, **a.pick("d_state", "ssm_ratio", "d_conv", "dt_rank"))

        def block(i: int, j: int, dim: int, drop_path_rate: float) -> nn.Module:
            mlp = SpectralMlp(dim) if spectral else ConvMlp(dim, a.mlp_ratios[i])
            return SiMBABlock(dim, mixer(dim), mlp, drop_path_rate)

        def class_block(dim: int) -> nn.Module:
            return ClassBlock(dim, mixer(dim), SpectralMlp(dim) if spectral else Mlp(dim))

        return self.frame(in_channels, a.stem_hidden_dim, a.token_label, block, class_block)
