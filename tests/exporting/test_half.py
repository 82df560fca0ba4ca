"""Half precision of ONNX files."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from mmmamba.exporting.half import to_half

from .tiny_models import Made, common_error, images, run_onnx


@pytest.mark.parametrize("compute", [False, True], ids=["stored", "computed"])
def test_the_file_is_smaller_and_close(vmamba, tmp_path, compute):
    exact, half = tmp_path / "exact.onnx", tmp_path / "half.onnx"
    ir.save(vmamba.model, exact)
    model = vmamba.model
    assert to_half(model, compute) > 5
    ir.save(model, half)
    given = images(1, 3, 64, 64)
    found = run_onnx(half, given)
    assert all(one.dtype == np.float32 for one in found)
    assert 1e-6 < common_error(found, vmamba.expected(given)) < 2e-3
    assert _bytes(model) < 0.6 * _bytes(vmamba.model)


def test_only_products_compute_in_half(vmamba):
    model = vmamba.model
    to_half(model, compute=True)
    for node in model.graph:
        kinds = {value.dtype for value in node.inputs if value is not None}
        if ir.DataType.FLOAT16 in kinds and node.op_type != "Cast":
            assert node.op_type in ("Conv", "MatMul", "Gemm")
    loops = [node for node in model.graph if node.op_type == "Scan"]
    assert loops
    for loop in loops:
        assert {value.dtype for value in loop.inputs} == {ir.DataType.FLOAT}


def test_a_weight_too_large_for_half_stays(vmamba):
    model = vmamba.model
    node = next(node for node in model.graph if node.op_type == "Conv")
    weight = node.inputs[1]
    weight.const_value = ir.tensor(np.full(tuple(weight.shape), 1e5, np.float32))
    count = to_half(model, compute=False)
    assert count == to_half(vmamba.model, compute=False) - 1
    assert node.inputs[1].dtype == ir.DataType.FLOAT
    assert node.inputs[1].is_initializer()


def test_metadata_are_kept(vmamba):
    model = vmamba.model
    model.metadata_props["classes"] = '["cat"]'
    to_half(model, compute=False)
    assert model.metadata_props["classes"] == '["cat"]'


def _bytes(model: ir.Model) -> int:
    return sum(
        value.const_value.nbytes
        for value in model.graph.initializers.values()
        if value.dtype in (ir.DataType.FLOAT, ir.DataType.FLOAT16)
    )


@pytest.mark.slow
def test_parts_of_a_weight_are_weights():
    """Vim's projection is split in two, of which each is a product."""
    model = Made("vim").model
    assert "Split" not in {node.op_type for node in model.graph if node.inputs[0].is_initializer()}
    products = [node for node in model.graph if node.op_type == "MatMul"]
    weights = [node.inputs[1].is_initializer() for node in products]
    assert all(weights)
