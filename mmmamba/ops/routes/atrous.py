"""Skip sampling: routes that visit every second (third, …) row and column.

(EfficientVMamba, arXiv 2403.09977.)
"""

import torch.nn.functional as F
from torch import Tensor

from .lines import grid
from .registry import register_sized_route

OFFSETS = range(4)


def atrous(height: int, width: int, step: int, row: int, column: int, by: str) -> Tensor:
    """Every `step`-th row and column from an offset, walked by rows or columns (section 3.2).

    Each offset's sub-grid has the size of the first one's: what lies outside the map is walked too,
    as holes.

    Raises:
        ValueError: an offset beyond the step.
    """
    if max(row, column) >= step:
        raise ValueError(
            f"atrous route of step {step} from row {row}, column {column}: "
            "offsets must be below the step"
        )
    padded = F.pad(grid(height, width), (0, -width % step, 0, -height % step), value=-1)
    cells = padded[row::step, column::step]
    return (cells if by == "row" else cells.t()).flatten()


def _steps(height: int, width: int, step: int) -> int:
    return -(-height // step) * -(-width // step)


# A function of its own, so that each `make` keeps its offsets: made in the loop itself, all would
# see the last ones.
def _register(row: int, column: int, by: str) -> None:
    # Only names that exist are listed: offsets must be below the step, which is 2 there.
    examples = (2,) if max(row, column) < 2 else ()

    @register_sized_route(f"atrous_{by}_{row}{column}_step", steps=_steps, examples=examples)
    def make(height: int, width: int, step: int) -> Tensor:
        return atrous(height, width, step, row, column, by)


for _row in OFFSETS:
    for _column in OFFSETS:
        for _by in ("row", "column"):
            _register(_row, _column, _by)
