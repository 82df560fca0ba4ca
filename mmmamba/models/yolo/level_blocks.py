"""One block on each map of a pyramid, so that a config can put Mamba YOLO's blocks after any neck."""

from collections.abc import Sequence

from mmengine.model import BaseModule
from mmengine.registry import MODELS
from torch import Tensor, nn

from mmmamba.models.yolo.ls_block import LSBlock
from mmmamba.models.yolo.odss import ODSSBlock
from mmmamba.models.yolo.rg_block import RGBlock
from mmmamba.models.yolo.vision_clue import VisionClueMerge

for layer in (LSBlock, ODSSBlock, RGBlock, VisionClueMerge):
    MODELS.register_module(module=layer)


@MODELS.register_module()
class LevelBlocks(BaseModule):
    """A block of its own for each map.

    To be the last of a list of necks: `neck=[dict(type="FPN", ...), dict(type="LevelBlocks", ...)]`.

    Args:
        in_channels: of each map.
        block: config of a module whose constructor takes the map's width as `dim`, such as `dict(type="LSBlock")`,
            or as `in_channels` and `out_channels`, as `ODSSBlock` does.
        residual: add the block's output to its input, for blocks that do not (`RGBlock`).
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        block: dict,
        residual: bool = False,
        init_cfg: dict | None = None,
    ):
        super().__init__(init_cfg)
        self.residual = residual
        in_and_out = MODELS.get(block["type"]) is ODSSBlock
        self.blocks = nn.ModuleList(
            MODELS.build(
                block | (dict(in_channels=c, out_channels=c) if in_and_out else dict(dim=c))
            )
            for c in in_channels
        )

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Maps `(B, C, H, W)` to the same.

        Raises:
            ValueError: another number of maps than of `in_channels`.
        """
        if len(maps) != len(self.blocks):
            raise ValueError(
                f"LevelBlocks got {len(maps)} maps, wanted {len(self.blocks)}, one for each of "
                "in_channels"
            )
        return tuple(
            x + block(x) if self.residual else block(x) for x, block in zip(maps, self.blocks)
        )
