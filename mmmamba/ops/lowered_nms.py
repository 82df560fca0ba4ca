"""Non-maximum suppression as a loop of PyTorch's own operators, for files that leave."""

import torch
from torch import Tensor


def lowered_nms(boxes_GN4: Tensor, threshold: float, most: int | None = None) -> Tensor:
    """`mmmamba::suppress`: a turn for each box that is kept, in all groups at once, `(G, N)`.

    Args:
        most: turns at most, as the caller takes no more boxes of a group.
    """
    boxes_GN4 = boxes_GN4.to(torch.promote_types(boxes_GN4.dtype, torch.float32))
    sides_GN2 = boxes_GN4[..., 2:] - boxes_GN4[..., :2]
    solid_GN = (sides_GN2 > 0).all(-1)
    number_N = torch.arange(boxes_GN4.shape[1], device=boxes_GN4.device)
    turn = torch.zeros((), dtype=torch.long, device=boxes_GN4.device)

    def goes_on(turn, left_GN, kept_GN, boxes_GN4, area_GN, number_N):
        some = left_GN.any()
        return some if most is None else some & (turn < most)

    def keep_one(turn, left_GN, kept_GN, boxes_GN4, area_GN, number_N):
        # The first, which is the best; where none is left, its row is all false.
        best_G1 = left_GN.long().argmax(1, keepdim=True)
        here_GN = (number_N == best_G1) & left_GN
        best_G14 = boxes_GN4.gather(1, best_G1.unsqueeze(2).expand(-1, -1, 4))
        upper_GN2 = torch.minimum(boxes_GN4[..., 2:], best_G14[..., 2:])
        lower_GN2 = torch.maximum(boxes_GN4[..., :2], best_G14[..., :2])
        common_GN = (upper_GN2 - lower_GN2).clamp(min=0).prod(-1)
        overlap_GN = common_GN / (area_GN.gather(1, best_G1) + area_GN - common_GN)
        left_GN = left_GN & ~here_GN & ~((overlap_GN > threshold) & left_GN.any(1, keepdim=True))
        return turn + 1, left_GN, kept_GN | here_GN

    state = turn, solid_GN, ~solid_GN
    fixed = boxes_GN4, sides_GN2.prod(-1), number_N
    return torch.ops.higher_order.while_loop(goes_on, keep_one, state, fixed)[2]
