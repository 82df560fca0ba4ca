"""The frame that GroupMamba, SiMBA and Heracles took over from Wave-ViT (arXiv 2207.04978).

A stem of four convolutions, steps of one, feed-forward layers with a convolution, a norm of each
stage's map; in SiMBA and Heracles also a class token that the last block alone knows, and a dense
classifier beside its own.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor, nn

from mmmamba.layers import (
    ConvNormAct,
    LayerNorm,
    Stage,
    ToChannelsLast,
    conv_downsample,
)
from mmmamba.layers.blocks import run_blocks

from ..trunks.base import init_by_fan_out
from ..trunks.pyramid import Pyramid, PyramidBackbone

FRAME_NAMES: tuple[tuple[str, Any], ...] = (
    # Convolution, norm and activation count one after the other in their stem.
    (r"^patch_embed1\.conv\.([036])\.", lambda m: f"patch_embed.{int(m[1]) // 3}.conv."),
    (r"^patch_embed1\.conv\.([147])\.", lambda m: f"patch_embed.{int(m[1]) // 3}.norm."),
    (r"^patch_embed1\.proj\.", "patch_embed.3."),
    (r"^patch_embed1\.norm\.", "patch_embed.5."),
    (r"^patch_embed([234])\.proj\.", lambda m: f"layers.{int(m[1]) - 2}.downsample.1."),
    (r"^patch_embed([234])\.norm\.", lambda m: f"layers.{int(m[1]) - 2}.downsample.3."),
    (r"^block([1-4])\.", lambda m: f"layers.{int(m[1]) - 1}.blocks."),
    (r"^norm([1-4])\.", lambda m: f"layers.{int(m[1]) - 1}.norm."),
    (r"\.dwconv\.dwconv\.", ".dwconv."),
)
"""Names of the authors' files to ours, as `KeyMap.renames` takes them."""
TOKEN_LABEL_NAMES: tuple[tuple[str, Any], ...] = (
    (r"^post_network\.0\.", "post_network."),
    (r"^(head|aux_head)\.", r"classifier.\1."),
)
OF_CLASSIFIER = r"(post_network|classifier)\..*"


def convolutional_stem(in_channels: int, dim: int, hidden: int) -> nn.Sequential:
    """Four convolutions, images to a map at a quarter of their sides, rounded up twice."""
    return nn.Sequential(
        ConvNormAct(nn.Conv2d(in_channels, hidden, 7, 2, 3, bias=False)),
        ConvNormAct(nn.Conv2d(hidden, hidden, 3, 1, 1, bias=False)),
        ConvNormAct(nn.Conv2d(hidden, hidden, 3, 1, 1, bias=False)),
        nn.Conv2d(hidden, dim, 3, 2, 1),
        ToChannelsLast(),
        LayerNorm(dim),
    )


class OpenStage(Stage):
    """A stage whose norm is for others to apply: its map leaves as the blocks made it."""

    def forward(self, x: Tensor) -> Tensor:
        return run_blocks(self.blocks, x, self.with_cp)


class TokenLabelHead(nn.Module):
    """Logits of a class token, and half of the largest that any cell has for a class.

    Args:
        token_label: have the dense classifier, which token labelling trains (arXiv 2104.10858).
    """

    def __init__(self, dim: int, num_classes: int, token_label: bool = True):
        super().__init__()
        self.head = nn.Linear(dim, num_classes)
        self.aux_head = nn.Linear(dim, num_classes) if token_label else None

    def forward(self, token_BC: Tensor, cells_BHWC: Tensor) -> Tensor:
        logits = self.head(token_BC)
        # timm puts an identity in place of what it takes away, to get what logits are made of.
        if self.aux_head is None or isinstance(self.aux_head, nn.Identity):
            return logits
        return logits + 0.5 * self.aux_head(cells_BHWC.flatten(1, 2)).amax(1)


class TokenLabelBackbone(PyramidBackbone):
    """Base of SiMBA and Heracles: a pyramid of the frame, and the class token of its classifier.

    The token is the mean of the last map. `post_network(token_B11C, x_BHWC)` makes of it what is
    classified, beside the normalised cells.
    """

    OUTPUT_NORMS = False
    OF_CLASSIFIER = (OF_CLASSIFIER,)

    def frame(
        self,
        in_channels: int,
        stem_hidden_dim: int,
        token_label: bool,
        block: Callable[[int, int, int, float], nn.Module],
        class_block: Callable[[int], nn.Module],
    ) -> Pyramid:
        """The parts, of the family's own blocks."""

        def stage(
            i: int, blocks: list[nn.Module], downsample: nn.Module | None, with_cp: bool
        ) -> Stage:
            kind = OpenStage if self.is_classifier and downsample is None else Stage
            return kind(blocks, downsample, with_cp, LayerNorm(self.dims[i], eps=1e-6))

        return Pyramid(
            stem=partial(convolutional_stem, in_channels, hidden=stem_hidden_dim),
            block=block,
            downsample=conv_downsample,
            head=lambda dim, num_classes: nn.Sequential(
                class_block(dim), TokenLabelHead(dim, num_classes, token_label)
            ),
            stage=stage,
            start=init_by_fan_out,
        )

    def _add_classifier(self, classifier: nn.Module) -> None:
        self.post_network, self.classifier = classifier.children()

    def _classify(self, x_BHWC: Tensor) -> Tensor:
        norm = self.stages[-1].norm
        token_B11C = self.post_network(x_BHWC.mean((1, 2), keepdim=True), x_BHWC)
        return self.classifier(norm(token_B11C).flatten(1), norm(x_BHWC))
