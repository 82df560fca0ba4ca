"""What is drawn lies where it belongs."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData

from mmmamba.structures.classes import Classes
from mmmamba.visualization.regions import with_ignored
from mmmamba.visualization.sheets.cells import input_image, objects_cell, regions_cell
from mmmamba.visualization.sheets.sheet import save_sheet

CLASSES = Classes(("cat", "dog"), ((250, 0, 0), (0, 0, 250)), (1, 2))
GREY = np.full((60, 120, 3), 128, np.uint8)
SCALE = 4
"""From 120 pixels to a cell's 480."""


def rgb(image: np.ndarray, x: float, y: float) -> list[int]:
    return image[round(y * SCALE), round(x * SCALE), ::-1].tolist()


def test_boxes_and_masks() -> None:
    masks = torch.zeros(2, 60, 120, dtype=torch.bool)
    masks[0, 20:40, 10:30] = True
    found = InstanceData(
        bboxes=torch.tensor([[10.0, 20, 30, 40], [60, 20, 100, 50]]),
        labels=torch.tensor([0, 1]),
        scores=torch.tensor([0.4, 0.2]),
        masks=masks,
    )
    cell = objects_cell("a", GREY, found, CLASSES, score_thr=0.3)
    assert cell.image.shape == (240, 480, 3) and cell.shown == {0}
    assert rgb(cell.image, 10, 30) == [250, 0, 0]
    red, green, blue = rgb(cell.image, 20, 30)
    assert red > 160 and green == blue < 100
    assert rgb(cell.image, 80, 35) == rgb(cell.image, 60, 35) == [128] * 3


def test_regions() -> None:
    labels = np.zeros((60, 120), int)
    labels[:, 40:80], labels[:, 80:] = 1, 255
    cell = regions_cell("a", GREY, labels, CLASSES)
    assert cell.shown == {0, 1, 2}
    assert rgb(cell.image, 20, 30)[0] > 160 and rgb(cell.image, 60, 30)[2] > 160
    assert min(rgb(cell.image, 100, 30)) > 180


@pytest.mark.parametrize("scale, shift", [(1, 0), (1 / 255, 0), (1 / 58, -2)])
def test_inputs_are_seen_whatever_the_pipeline_did_to_their_values(
    scale: float, shift: float
) -> None:
    ramp = torch.arange(256.0).repeat(3, 4, 1)
    image = input_image(ramp.to(torch.uint8) if scale == 1 else ramp * scale + shift)
    assert image.shape == (4, 256, 3)
    np.testing.assert_allclose(image[0, :, 0], np.arange(256), atol=1)


def test_a_sheet_has_room_for_all(tmp_path: Path) -> None:
    labels = np.ones((60, 120), int)
    cells = [regions_cell("x" * 200, GREY, labels, CLASSES)] * 5
    save_sheet(tmp_path / "new" / "sheet.png", cells, with_ignored(CLASSES))
    sheet = cv2.imread(str(tmp_path / "new" / "sheet.png"))
    blue = (sheet[..., 0] > 160) & (sheet[..., 2] < 100)
    assert sheet.shape[1] == 3 * 480 + 4 * 8
    assert 5 * 200 * 400 < blue.sum() < 5 * 245 * 480
    assert blue[-30:, :100].any(), "the legend"
