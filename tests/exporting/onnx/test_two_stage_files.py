"""Two-stage detectors as ONNX files find what the detectors predict."""

import pytest
import torch

from mmmamba.exporting.graphs.two_stage import TwoStageGraph
from mmmamba.exporting.onnx import to_onnx
from mmmamba.exporting.tracing import trace
from tests.exporting.graphs.two_stage_models import (
    SIZES,
    VMAMBA,
    check,
    detector,
    images,
    leave_one_empty,
    settings,
)
from tests.exporting.onnx.test_detection import onnxruntime, openvino

ir = pytest.importorskip("onnx_ir")


FILES = [
    ("mask_rcnn_fpn", None, False),
    pytest.param("mask_rcnn_fpn", None, True, marks=pytest.mark.slow),
    pytest.param("mask_rcnn_fpn", VMAMBA, True, marks=pytest.mark.slow),
    pytest.param("mask_rcnn_fpn", VMAMBA, False, marks=pytest.mark.slow),
    pytest.param("cascade_mask_rcnn_fpn", VMAMBA, True, marks=pytest.mark.slow),
    pytest.param("cascade_mask_rcnn_fpn", VMAMBA, False, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("name", "backbone", "dynamic"), FILES)
def test_a_file_finds_what_the_detector_predicts(name, backbone, dynamic):
    model = detector(settings(name, backbone))
    graph = TwoStageGraph(model)
    batches = [(images(), SIZES)]
    if dynamic:
        batches.append((images(1, 150, 101), torch.tensor([[150, 90]])))
        batches.append((images(3, 70, 64), torch.tensor([[70, 64], [64, 64], [33, 40]])))
    with torch.no_grad():
        leave_one_empty(model, graph(*batches[-1]))
    traced = (images(2, 97, 131), SIZES) if dynamic else batches[0]
    program = trace(graph, traced, dynamic)
    data = ir.to_proto(to_onnx(program, graph)).SerializeToString()
    with torch.no_grad():
        check(model, traced, program.module()(*traced))
    for runs in (onnxruntime(data), openvino(data)):
        counts = []
        for batch in batches:
            found = runs(list(batch))
            counts += check(model, batch, found)
            with torch.no_grad():
                masks = graph(*batch)[3]
            torch.testing.assert_close(torch.from_numpy(found[3]), masks, rtol=0, atol=1e-4)
        assert min(counts) == 0 and max(counts) > 0
