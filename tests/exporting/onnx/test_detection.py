"""Operators of detectors in ONNX runtimes, and whole detectors."""

import tempfile
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch

from mmmamba.exporting.onnx.as_openvino import keep_meanings
from mmmamba.exporting.onnx.detection import TRANSLATIONS
from mmmamba.ops import grouped_nms
from mmmamba.ops.best import best
from mmmamba.ops.roi_align import pool_regions_op

ort = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
ANY = torch.export.Dim.DYNAMIC


class Operators(torch.nn.Module):
    def forward(self, boxes, count, scores, fine, coarse, rois, level):
        maps = [fine, coarse]
        return (
            grouped_nms(boxes, 0.5),
            grouped_nms(boxes, 0.5, count),
            *best(scores, scores.shape[1] - 2),
            pool_regions_op(maps, rois, level, [7, 5], [0.25, 0.125]),
        )


def inputs(batch: int, number: int, regions: int, side: int = 20) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(number)

    def draw(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=generator)

    boxes, rois = draw(batch, number, 4) * 40, draw(regions, 5) * 60
    boxes[..., 2:] += boxes[..., :2]
    # Some reach beyond the map.
    rois[:, 3:] += rois[:, 1:3]
    rois[:, 0] = (draw(regions) * batch).floor()
    return [
        boxes,
        (draw(batch) * number).long(),
        draw(batch, number),
        draw(batch, 3, side, side + 1),
        draw(batch, 3, side // 2, side // 2 + 1),
        rois,
        (draw(regions) * 2).long(),
    ]


@pytest.fixture(scope="module")
def model() -> bytes:
    images, number, regions = ({0: ANY}, {0: ANY, 1: ANY}, {0: ANY})
    maps = {0: ANY, 2: ANY, 3: ANY}
    with torch.no_grad():
        program = torch.export.export(
            Operators(),
            tuple(inputs(2, 9, 7)),
            dynamic_shapes=(number, images, number, maps, maps, regions, regions),
            strict=False,
        )
    made = torch.onnx.export(
        program, dynamo=True, verbose=False, custom_translation_table=TRANSLATIONS
    )
    return made.model_proto.SerializeToString()


Runs = Callable[[list[torch.Tensor]], list[np.ndarray]]


def onnxruntime(model: bytes) -> Runs:
    session = ort.InferenceSession(model)
    names = [one.name for one in session.get_inputs()]
    return lambda given: session.run(None, {k: x.numpy() for k, x in zip(names, given)})


def openvino(model: bytes) -> Runs:
    ov = pytest.importorskip("openvino")
    read = ov.Core().read_model(model)
    keep_meanings(read)
    # As a file holds it.
    with tempfile.TemporaryDirectory() as folder:
        ov.save_model(read, f"{folder}/model.xml", compress_to_fp16=False)
        compiled = ov.compile_model(
            f"{folder}/model.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
        )
    return lambda given: list(compiled([x.numpy() for x in given]).values())


@pytest.fixture(scope="module", params=[onnxruntime, openvino])
def runs(request, model) -> Iterator[Runs]:
    return request.param(model)


def compare(runs: Runs, given: list[torch.Tensor]) -> None:
    for found, wanted in zip(runs(given), Operators()(*given), strict=True):
        assert found.shape == wanted.shape
        torch.testing.assert_close(torch.from_numpy(found), wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize("sizes", [(1, 3, 1), (3, 40, 40, 31), (2, 300, 200, 64)])
def test_any_size(runs, sizes):
    compare(runs, inputs(*sizes))


def test_levels_without_regions(runs):
    given = inputs(2, 20, 6)
    for level in (0, 1):
        given[6][:] = level
        compare(runs, given)
    compare(runs, [*given[:5], given[5][:0], given[6][:0]])


def test_boxes_without_area(runs):
    """They neither suppress nor are suppressed, and have no features."""
    given = inputs(2, 20, 6)
    given[0][0] = 0
    given[0][1, ::2] = 0
    given[0][1, 1] = torch.tensor([9.0, 9, 3, 3])
    given[5][2] = 0
    given[5][3, 1:] = torch.tensor([5.0, 5, 5, 5])
    given[5][4, 1:] = torch.tensor([9.0, 9, 3, 3])
    compare(runs, given)


def test_equal_scores_and_overlaps_at_the_threshold(runs):
    given = inputs(2, 400, 6)
    given[0], given[2] = given[0].round(), (given[2] * 9).round()
    compare(runs, given)
