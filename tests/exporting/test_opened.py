"""Files as models of mmdet and mmseg: where boxes, masks and labels land in the original image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmseg.structures import SegDataSample

from mmmamba.errors import UsageError
from mmmamba.exporting.opened import ExportedDetector, ExportedSegmentor
from mmmamba.inference import Predictor

from .onnx_files import CLASSES, write_backbone, write_detector, write_segmentor

pytest.importorskip("onnxruntime")
HEIGHT, WIDTH = 60, 90
BOX = (42, 12, 72, 30)
"""The rectangle of `picture`, red."""
LETTERBOX = dict(
    resize="letterbox",
    scale=(96, 96),
    pad_place="centre",
    pad_value=(114.0,) * 3,
    size_divisor=32,
    pad_extra=16,
    sizes_with_padding=True,
)
PREPARED = {
    "as it is": {},
    "any size": dict(resize="keep_ratio", scale=(180, 120), size_divisor=32),
    "a fixed size": dict(resize="keep_ratio", scale=(180, 120), size=(64, 96)),
    "a standing size": dict(resize="none", size=(90, 64)),
    "stretched": dict(resize="stretch", size=(128, 96)),
    "letterbox": LETTERBOX,
    "letterbox, fixed": LETTERBOX | dict(size=(128, 128)),
    "padded in the pipeline": dict(
        resize="keep_ratio", scale=(120, 120), pad_to=(128, 128), sizes_with_padding=True
    ),
}


def picture(height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """A dark image with one red rectangle."""
    image = np.full((height, width, 3), 20, np.uint8)
    x1, y1, x2, y2 = BOX
    image[y1:y2, x1:x2, 2] = 230
    return image


@pytest.mark.parametrize("name", PREPARED)
def test_boxes_and_masks_lie_in_the_original_image(name: str, tmp_path: Path) -> None:
    file = write_detector(tmp_path / "found.onnx", masks=True, **PREPARED[name])
    found = Predictor(file)(picture())
    assert found.names == ["red"] and found.scores == pytest.approx([0.9])
    # A pixel of the smallest of these inputs is 1.4 of the original.
    np.testing.assert_allclose(found.boxes, [BOX], atol=1.5)
    (mask,) = found.masks
    x1, y1, x2, y2 = BOX
    assert mask.shape == (HEIGHT, WIDTH)
    # The left half of the box.
    half = (x2 - x1) // 2
    assert mask[y1 + 2 : y2 - 2, x1 + 2 : x1 + half - 2].all()
    assert not mask[:, x1 + half + 2 :].any() and not mask[: y1 - 2].any()


@pytest.mark.parametrize("logits", [False, True])
@pytest.mark.parametrize("name", ["as it is", "any size", "a fixed size", "a standing size"])
def test_labels_lie_in_the_original_image(name: str, logits: bool, tmp_path: Path) -> None:
    file = write_segmentor(tmp_path / "labels.onnx", logits, **PREPARED[name])
    found = Predictor(file)(picture())
    x1, y1, x2, y2 = BOX
    wanted = np.zeros((HEIGHT, WIDTH), int)
    wanted[y1:y2, x1:x2] = 1 + CLASSES.index("red")
    wrong = found.labels != wanted
    assert wrong.mean() < 0.03 and not wrong[y1 + 2 : y2 - 2, x1 + 2 : x2 - 2].any()
    if name == "as it is":
        assert not wrong.any()


def test_colours_are_exchanged_and_normalised_as_the_file_says(tmp_path: Path) -> None:
    # In the network's order the red channel comes first, as a file of ours calls blue.
    changed = dict(channel_order="rgb", mean=(-100.0, 0.0, 0.0), std=(1.0, 1.0, 4.0))
    found = Predictor(write_detector(tmp_path / "rgb.onnx", **changed))(picture())
    assert found.names == ["blue"]
    darker = write_detector(tmp_path / "dark.onnx", channel_order="bgr", std=(1.0, 1.0, 4.0))
    assert len(Predictor(darker)(picture())) == 0


def test_padding_is_what_the_network_got_in_training(tmp_path: Path) -> None:
    file = write_segmentor(tmp_path / "pad.onnx", size=(64, 96), pad_value=(0.0, 230.0, 0.0))
    model = ExportedSegmentor(str(file))
    data = dict(inputs=[torch.from_numpy(picture()).permute(2, 0, 1)], data_samples=[sample()])
    given = model.data_preprocessor(data)
    assert given["inputs"].shape == (1, 3, 64, 96)
    assert (given["inputs"][0, :, HEIGHT:].amax((1, 2)) == torch.tensor([0.0, 230.0, 0.0])).all()
    assert given["data_samples"][0].img_padding_size == (0, 96 - WIDTH, 0, 64 - HEIGHT)
    # The green padding is no part of the image.
    (found,) = model.predict(given["inputs"], given["data_samples"])
    assert not (found.pred_sem_seg.data == 1 + CLASSES.index("green")).any()


def sample(kind: type = SegDataSample, **meta: Any) -> Any:
    size = (HEIGHT, WIDTH)
    return kind(metainfo=dict(dict(img_shape=size, ori_shape=size), **meta))


@pytest.mark.parametrize("count", [1, 3, 5])
def test_any_number_of_images_go_through_a_fixed_batch(count: int, tmp_path: Path) -> None:
    file = write_detector(tmp_path / "three.onnx", size=(HEIGHT, WIDTH), batch=3)
    images = [np.roll(picture(), step, axis=1) for step in range(count)]
    found = Predictor(file, batch_size=count).predict(images)
    for step, one in enumerate(found):
        np.testing.assert_allclose(one.boxes, [np.add(BOX, (step, 0, step, 0))])


def test_an_empty_image_has_no_boxes(tmp_path: Path) -> None:
    found = Predictor(write_detector(tmp_path / "found.onnx", masks=True))(picture() * 0)
    assert len(found) == 0 and found.boxes.shape == (0, 4)
    assert found.masks.shape == (0, HEIGHT, WIDTH)


def test_a_file_has_no_parameters(tmp_path: Path) -> None:
    model = ExportedDetector(str(write_detector(tmp_path / "found.onnx")))
    assert list(model.parameters()) == [] and model.runtime.name.startswith("onnxruntime")


def test_without_rescaling_boxes_stay_in_the_input(tmp_path: Path) -> None:
    model = ExportedDetector(str(write_detector(tmp_path / "found.onnx")))
    images = torch.from_numpy(picture()).permute(2, 0, 1)[None].float()
    given = sample(DetDataSample, scale_factor=(0.5, 0.5))
    (found,) = model.predict(images, [given], rescale=False)
    assert found.pred_instances.bboxes.tolist() == [list(map(float, BOX))]
    (found,) = model.predict(images, [given])
    assert found.pred_instances.bboxes.tolist() == [[2.0 * side for side in BOX]]


def test_boxes_end_where_the_image_does(tmp_path: Path) -> None:
    model = ExportedDetector(str(write_detector(tmp_path / "found.onnx")))
    images = torch.from_numpy(picture()).permute(2, 0, 1)[None].float()
    given = sample(DetDataSample, img_shape=(20, 60), scale_factor=(1.0, 1.0))
    (found,) = model.predict(images, [given])
    assert found.pred_instances.bboxes.tolist() == [[42.0, 12.0, 60.0, 20.0]]


def test_tiles_of_label_maps_are_put_together(tmp_path: Path) -> None:
    image = picture(200, 230)
    whole = Predictor(write_segmentor(tmp_path / "labels.onnx"))(image)
    for logits in (False, True):
        file = write_segmentor(tmp_path / "part.onnx", logits)
        tiled = Predictor(file, tile=64, batch_size=4)(image)
        assert (tiled.labels == whole.labels).all()


def test_what_label_maps_lose_is_told_once(tmp_path: Path, caplog: Any) -> None:
    caplog.set_level("INFO", "mmmamba")
    model = Predictor(write_segmentor(tmp_path / "labels.onnx", size=(64, 64)))
    model.predict([picture(), picture()])
    assert caplog.text.count("at borders mIoU differs") == 1


@pytest.mark.parametrize(
    ("made", "shape", "message"),
    [
        (
            dict(size=(32, 32)),
            (60, 90),
            "60x90 pixels after the test pipeline.*takes 32x32: export",
        ),
        ({}, (60, 90), "1 channels and .*found.onnx takes 3"),
    ],
)
def test_images_that_a_file_cannot_take(
    made: dict, shape: tuple[int, int], message: str, tmp_path: Path
) -> None:
    model = ExportedDetector(str(write_detector(tmp_path / "found.onnx", **made)))
    image = torch.zeros(3 if made else 1, *shape)
    with pytest.raises(UsageError, match=message):
        model.data_preprocessor(dict(inputs=[image], data_samples=[sample(DetDataSample)]))


def test_files_for_something_else(tmp_path: Path) -> None:
    segmentor = str(write_segmentor(tmp_path / "labels.onnx"))
    with pytest.raises(UsageError, match="a file for segmentation, wanted one for detection"):
        ExportedDetector(segmentor)
    with pytest.raises(UsageError, match="a file for backbone, wanted one for segmentation"):
        ExportedSegmentor(str(write_backbone(tmp_path / "maps.onnx")))
    with pytest.raises(UsageError, match="cannot be trained"):
        ExportedSegmentor(segmentor).loss(None, None)
