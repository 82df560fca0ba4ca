"""Files of SUM give what the model predicts for its condition."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mmseg.structures import SegDataSample

from mmmamba.errors import UsageError
from mmmamba.exporting.graphs import graph_of
from tests.models.segmentors.saliency.tiny import build, images, lively

from .cases import onnx_file, run_onnx, traced


def test_a_graph_gives_what_is_predicted_for_its_condition() -> None:
    model = lively(build(condition="ui")).eval()
    given = images(2, 64, 96)
    with torch.no_grad():
        (found,) = graph_of(model)(given)
        (logits,) = graph_of(model, logits=True)(given)
        wanted = [sample.pred_saliency.data[0] for sample in model.predict(given)]
        other = model.predict(given, [SegDataSample(metainfo=dict(condition=0))] * 2)
    torch.testing.assert_close(found, torch.stack(wanted))
    torch.testing.assert_close(logits.sigmoid(), found)
    assert found.shape == (2, 64, 96)
    assert not torch.allclose(found[0], other[0].pred_saliency.data[0], atol=1e-3)


def test_sizes_that_it_does_not_take_are_refused() -> None:
    graph = graph_of(build())
    for size in (None, (100, 256)):
        with pytest.raises(UsageError, match="--size 256 256"):
            graph.check_size(size)
    with pytest.raises(UsageError, match="no-nms"):
        graph_of(build(), nms=False)


@pytest.mark.slow
def test_an_onnx_file() -> None:
    graph, given = graph_of(lively(build(condition=2))).eval(), images(2)
    with torch.no_grad():
        (wanted,) = graph(given)
    (found,) = run_onnx(onnx_file(graph, traced(graph, (64, 64))), given)
    np.testing.assert_allclose(found, wanted.numpy(), atol=1e-5)
