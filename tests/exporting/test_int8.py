"""Int8: which products, with which ranges, and how far from float32."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import onnx_ir as ir
import pytest

from mmmamba.errors import UsageError
from mmmamba.exporting.metadata import Inputs
from mmmamba.exporting.quantize import calibration, quantize
from mmmamba.exporting.quantize.comparing import differences
from mmmamba.exporting.quantize.products import probes_of, products_of
from mmmamba.exporting.quantize.ranges import Seen
from mmmamba.exporting.quantize.search import LIMIT
from mmmamba.exporting.quantize.storing import compact, store_weights
from mmmamba.exporting.verify import draw
from mmmamba.exporting.writing.openvino_file import to_openvino

from .small_files import conv_metadata, write_conv
from .tiny_models import common_error, run_onnx, run_openvino

INPUTS = Inputs(size=(64, 64), resize="stretch", mean=(120.0,) * 3, std=(60.0,) * 3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Ten images in two folders."""
    root = tmp_path_factory.mktemp("images")
    (root / "more").mkdir()
    for number in range(10):
        place = root / "more" if number % 2 else root
        cv2.imwrite(str(place / f"{number}.png"), draw(50, 80, seed=number))
    return root


def test_a_backbone(vmamba, folder, tmp_path):
    exact, rounded = tmp_path / "exact.onnx", tmp_path / "int8.onnx"
    model = vmamba.model
    model.metadata_props["classes"] = '["cat"]'
    ir.save(model, exact)
    batches = calibration(folder, INPUTS)
    report = quantize(exact, batches, rounded)
    given = batches[3]["images"]
    error = common_error(run_onnx(rounded, given), vmamba.expected(given))
    assert 1e-3 < error < 0.1
    assert report.limit == LIMIT
    assert 1e-3 < report.error <= LIMIT
    assert report.images == 10
    assert report.size == (exact.stat().st_size, rounded.stat().st_size)
    written = ir.load(rounded)
    assert written.metadata_props["classes"] == '["cat"]'
    assert [one.name for one in written.graph.outputs] == ["map0", "map1"]
    held = {value.dtype for value in written.graph.initializers.values()}
    assert ir.DataType.INT8 in held
    # OpenVINO reads the same.
    to_openvino(written, tmp_path / "int8.xml")
    error = common_error(run_openvino(tmp_path / "int8.xml", given), vmamba.expected(given))
    assert 1e-3 < error < 0.1


def test_what_int8_changes_most_is_left_out(vmamba, folder, tmp_path):
    ir.save(vmamba.model, tmp_path / "exact.onnx")
    batches = calibration(folder, INPUTS)
    files = [tmp_path / f"{number}.onnx" for number in (0, 1)]
    loose = quantize(tmp_path / "exact.onnx", batches, files[0], limit=1.0)
    assert not loose.left
    tight = quantize(tmp_path / "exact.onnx", batches, files[1], limit=0.8 * loose.error)
    assert tight.left
    assert tight.error < loose.error
    # Weights that are computed with in float32 are stored in 8 bits too.
    assert files[1].stat().st_size < 1.1 * files[0].stat().st_size
    errors = [one.error for one in tight.left]
    assert errors == sorted(errors, reverse=True)
    told = "\n".join(tight.lines())
    assert all(one.name in told for one in tight.left)


def test_the_scan_stays_in_float(vmamba):
    model = vmamba.model
    products = products_of(model)
    nodes = {node.name: node for node in model.graph}
    assert products
    for product in products:
        assert nodes[product.name].op_type in ("Conv", "Gemm", "MatMul")
        # Step sizes of all routes are one product of several matrices.
        shape = tuple(nodes[product.name].inputs[1].shape)
        assert len(shape) == (4 if product.kind == "Conv" else 2)
        assert shape[1] > 1
    assert probes_of(model, products) == ["map0", "map1"]


def test_what_is_stored_only(vmamba, tmp_path):
    """Weights of three dimensions too; no runtime meets a rounding, or computes otherwise."""
    ir.save(vmamba.model, tmp_path / "exact.onnx")
    model = ir.load(tmp_path / "exact.onnx")
    store_weights(model)
    compact(model)
    ir.save(model, tmp_path / "stored.onnx")
    held = [value for value in model.graph.initializers.values() if len(value.shape or ()) > 1]
    whole = [value for value in held if value.dtype == ir.DataType.INT8]
    assert {len(value.shape) for value in whole} >= {2, 3, 4}
    assert "DequantizeLinear" not in {node.op_type for node in model.graph}
    given = np.random.default_rng(0).normal(0, 1, (1, 3, 64, 64)).astype(np.float32)
    exact, stored = (run_onnx(tmp_path / f"{name}.onnx", given) for name in ("exact", "stored"))
    assert 1e-4 < common_error(stored, exact) < 0.02


def test_compact_loses_nothing(vmamba, tmp_path):
    ir.save(vmamba.model, tmp_path / "exact.onnx")
    model = ir.load(tmp_path / "exact.onnx")
    compact(model)
    ir.save(model, tmp_path / "compact.onnx")
    sizes = [(tmp_path / f"{name}.onnx").stat().st_size for name in ("compact", "exact")]
    assert sizes[0] < sizes[1]
    given = np.random.default_rng(0).normal(0, 1, (1, 3, 64, 64)).astype(np.float32)
    exact, compacted = (run_onnx(tmp_path / f"{n}.onnx", given) for n in ("exact", "compact"))
    for ours, theirs in zip(exact, compacted):
        np.testing.assert_array_equal(ours, theirs)


def test_the_difference_of_boxes():
    boxes = np.array([[[0, 0, 10, 10], [20, 20, 40, 40], [0, 0, 0, 0]]], np.float32)
    labels = np.array([[0, 1, -1]])
    exact = dict(boxes=boxes, scores=np.array([[0.8, 0.2, 0]], np.float32), labels=labels)
    assert differences([exact], [exact])["boxes"] == pytest.approx(0)
    # IoU 0.8 passes seven of the ten thresholds of AP; the other box is of another class.
    moved = boxes.copy()
    moved[0, 0, 2] = 8
    found = exact | dict(boxes=moved, labels=np.array([[0, 0, -1]]))
    assert differences([exact], [found])["boxes"] == pytest.approx(1 - 0.8 * 0.7)
    nothing = exact | dict(labels=np.full((1, 3), -1))
    assert differences([nothing], [nothing])["boxes"] == 0
    assert differences([exact], [nothing])["boxes"] == 1


def test_the_error_of_numbers():
    exact = dict(map0=np.array([-1.0, 1.0]))
    assert differences([exact], [dict(map0=np.array([-1.0, 1.5]))]) == pytest.approx(
        dict(map0=0.5 / 2**0.5)
    )


def test_ranges():
    seen, dice = Seen(), np.random.default_rng(0)
    values = dice.normal(0, 1, 2000).astype(np.float32)
    seen.add(np.append(values, np.float32(40)), dice)
    assert seen.widest().high == 40
    wide, close = (one.rounded(values) - values for one in (seen.widest(), seen.closest()))
    assert np.abs(close).mean() <= np.abs(wide).mean()
    positive = Seen()
    positive.add(values + 10, dice)
    assert positive.widest().low == 0
    assert positive.widest().rounded(np.zeros(1, np.float32)) == 0
    # Of nothing but zeros.
    assert Seen().closest().rounded(np.zeros(2, np.float32)).tolist() == [0, 0]


def test_batches(folder):
    batches = calibration(folder, Inputs(size=(64, 48), batch=4, resize="stretch"))
    assert len(batches) == 3
    assert [one["images"].shape for one in batches] == [(4, 3, 64, 48)] * 3
    some = calibration(folder, Inputs(batch=None, names=("images", "image_sizes")), most=9)
    assert len(some) == 9
    assert some[0]["images"].shape == (1, 3, 50, 80)
    assert some[0]["image_sizes"].tolist() == [[50, 80]]


def test_no_images(tmp_path):
    with pytest.raises(UsageError, match=r"--calibrate .*: there is no image in this folder"):
        calibration(tmp_path, INPUTS)


def test_too_few_images(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), draw(20, 20))
    with pytest.raises(UsageError, match=r"there are 1 images, wanted 8 at least"):
        calibration(tmp_path, INPUTS)


def test_an_image_that_cannot_be_read(tmp_path):
    for number in range(8):
        cv2.imwrite(str(tmp_path / f"{number}.png"), draw(20, 20, seed=number))
    (tmp_path / "5.png").write_text("no image")
    batches = calibration(tmp_path, INPUTS)
    with pytest.raises(UsageError, match=r"5\.png is no image of a known format, or damaged"):
        list(batches)


def test_neither_a_folder_nor_a_config():
    with pytest.raises(UsageError, match="there is no config file nowhere"):
        calibration("nowhere", INPUTS)


def test_a_model_without_products(folder, tmp_path):
    """A convolution of 108 numbers is not worth the nodes around it."""
    file = write_conv(tmp_path / "conv.onnx", conv_metadata(size=(64, 64)))
    with pytest.raises(UsageError, match="no convolution or product of matrices for int8"):
        quantize(file, calibration(folder, INPUTS), tmp_path / "int8.onnx")
