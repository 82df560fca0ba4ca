"""Pooling for files that leave is that of the operator which stays."""

import pytest
import torch

from mmmamba.ops.lowered_pooling import lowered_pooling
from mmmamba.ops.roi_align import pool_regions_op

from .test_roi_align import SCALES, maps, regions


@pytest.mark.parametrize("sampling_ratio", [0, 2])
@pytest.mark.parametrize(("levels", "count"), [(1, 9), (4, 60), (3, 0)])
def test_features(levels, count, sampling_ratio):
    rois, level = regions(count, 256, levels)
    given = maps(levels, 256), rois, level, [7, 5], SCALES[:levels], sampling_ratio
    torch.testing.assert_close(lowered_pooling(*given), pool_regions_op(*given))
