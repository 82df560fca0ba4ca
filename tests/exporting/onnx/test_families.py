"""ONNX files of a tiny variant of every family compute what PyTorch computes."""

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
import torch

from mmmamba.exporting.graphs import graph_of
from mmmamba.exporting.onnx import to_onnx
from mmmamba.exporting.tracing import trace
from mmmamba.exporting.verify.checks import relative_error
from mmmamba.models.trunks.base import MambaBackbone

FAMILIES = {family.__name__: family for family in MambaBackbone.families()}
every_family = pytest.mark.parametrize("family", FAMILIES)
SAMPLED = ("MambaVision", "MobileMamba", "Vim")
"""Attention, convolutions and a single column; VMamba's files are those of the other tests."""
LIMIT = 2e-5
"""Largest error, as a share of a map's spread."""
ANY = [
    ((96, 128), 1),
    ((160, 224), 2),
    ((97, 191), 1),
    ((64, 97), 4),
    ((129, 65), 1),
    ((64, 64), 3),
]
"""Sizes and batches for a file of all sizes."""


def smallest(family):
    """The tiny variant with as few blocks as it can have: each takes a second to export."""
    given = dict(FAMILIES[family].TINY)
    arch = dict(given["arch"])
    # Routes are given block by block; MambaVision's last stages are mixers, then attention.
    if "depths" in arch and "routes" not in arch:
        least = 2 if family == "MambaVision" else 1
        arch["depths"] = tuple(min(depth, least) for depth in arch["depths"])
    return FAMILIES[family](**given | dict(arch=arch))


def written(family, tmp_path, inputs, dynamic):
    """A session of the file, and the model."""
    torch.manual_seed(0)
    model = smallest(family).eval()
    graph = graph_of(model)
    path = tmp_path / "model.onnx"
    ir.save(to_onnx(trace(graph, [inputs], dynamic), graph), path)
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]), model


def assert_equal(session, model, images):
    with torch.no_grad():
        maps = model(images)
    found = session.run(None, {"images": images.numpy()})
    assert len(found) == len(maps)
    for given, wanted in zip(found, maps):
        assert given.shape == tuple(wanted.shape)
        assert np.isfinite(given).all()
        assert relative_error(wanted.numpy(), given) <= LIMIT


@pytest.mark.parametrize(
    "family",
    [pytest.param(name, marks=() if name in SAMPLED else pytest.mark.slow) for name in FAMILIES],
)
def test_a_fixed_size(family, tmp_path):
    images = torch.randn(1, 3, 96, 64)
    session, model = written(family, tmp_path, images, dynamic=False)
    assert_equal(session, model, images)


@pytest.mark.slow
@every_family
def test_any_size_and_batch(family, tmp_path):
    session, model = written(family, tmp_path, torch.zeros(2, 3, 225, 191), dynamic=True)
    for size, batch in ANY:
        assert_equal(session, model, torch.randn(batch, 3, *size))


@pytest.mark.parametrize("curve", ["hilbert", "fractal_curve_column_shifted"])
def test_a_hilbert_curve_wants_a_size(curve):
    arch = dict(embed_dims=16, depths=(1, 1))
    model = FAMILIES["VMamba"](arch=arch, out_indices=(1,), routes=(curve,) * 4).eval()
    with pytest.raises(ValueError, match="is cut by the map's sides"):
        trace(graph_of(model), [torch.zeros(2, 3, 225, 191)], dynamic=True)
    trace(graph_of(model), [torch.zeros(1, 3, 64, 96)])
