"""The Triton backend on a CPU, in Triton's interpreter and a process of its own."""

import pytest
import torch

from mmmamba.ops import selective_scan
from mmmamba.ops.selective_scan import naive, triton_choice
from mmmamba.ops.selective_scan.common import ScanArgs
from mmmamba.ops.selective_scan.dispatch import resolve

from .interpreter import INTERPRETED, inside
from .interpreter_memory import check_addresses
from .second_order import assert_forward_equal, assert_second_order_equal
from .test_projected_scan import check as check_projected
from .test_projected_states import check as check_states
from .test_projected_states import make as make_states
from .test_selective_scan import NAMES, assert_same, make_inputs

PAIR = ("row", "column_reversed")
slow = pytest.mark.slow
pytestmark = pytest.mark.usefixtures("poisoned_memory")
pytest.importorskip("triton")


@pytest.fixture(autouse=INTERPRETED)
def own_memory(monkeypatch):
    """Kernels touch nothing but the tensors they are given."""
    check_addresses(monkeypatch)


@pytest.fixture(params=["whole routes", "chunks", "chunks, route by route"])
def schedule(request, monkeypatch):
    monkeypatch.setattr(triton_choice, "FULL", 0 if request.param == "whole routes" else 1e9)
    monkeypatch.setattr(triton_choice, "LARGE_MAP", 1 if "route by route" in request.param else 1e9)
    return request.param


@inside
@pytest.mark.parametrize(
    ("size", "d_state"),
    [((1, 1), 1), ((2, 3), 3), *(pytest.param(*x, marks=slow) for x in (((1, 1), 3), ((2, 3), 1)))],
)
def test_equals_the_loop(size, d_state, schedule):
    inputs = make_inputs(
        *size, channels=5, d_state=d_state, routes=PAIR, batch=1, dtype=torch.float32
    )
    assert_same(inputs, "triton", 2e-5)


@inside
@pytest.mark.parametrize(("size", "d_state"), [((7, 7), 1), ((2, 2), 16)])
def test_more_steps_and_more_states(size, d_state):
    inputs = make_inputs(
        *size, channels=3, d_state=d_state, routes=("column",), batch=1, dtype=torch.float32
    )
    assert_same(inputs, "triton", 2e-5)


@inside
def test_gradients_written_side_by_side(monkeypatch):
    monkeypatch.setenv("MMMAMBA_SCAN_BACKEND", "triton")
    check_projected(("window2", "row"), 1, torch.float32, rtol=2e-4, size=(3, 2))


@inside
def test_states_handed_out(schedule, monkeypatch):
    monkeypatch.setenv("MMMAMBA_SCAN_BACKEND", "triton")
    check_states(make_states(2, 5, 8, 6, torch.float32), 1e-4)


@inside
def test_routes_apart_with_a_map_each(schedule):
    inputs = make_inputs(
        2, 3, channels=8, d_state=1, routes=PAIR, batch=1, shared=False, dtype=torch.float32
    )
    assert_same(inputs, "triton", 2e-5, merge=False)


@inside
@pytest.mark.parametrize("d_state", [pytest.param(1, marks=slow), 2])
def test_holes(d_state, schedule):
    index = torch.tensor([[0, -1, 2, 1, -1, -1], [3, 5, 4, -1, -1, 0]], dtype=torch.int32)
    assert_same(
        make_inputs(2, 3, d_state=d_state, batch=1, routes=index, dtype=torch.float32),
        "triton",
        2e-5,
    )


@inside
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_without_index_or_options(dtype, schedule):
    inputs = make_inputs(3, 3, channels=8, d_state=1, routes=("row",), batch=1, dtype=dtype)
    inputs |= dict(
        D=None, delta_bias=None, delta_softplus=False, index=None, delta=inputs["delta"].abs()
    )
    assert_same(inputs, "triton", 3e-2 if dtype == torch.bfloat16 else 4e-3)


@inside
def test_route_by_route_adds_in_the_order_of_the_merge(monkeypatch):
    """The last route writes in another dtype than the sums before it."""
    inputs = make_inputs(
        3,
        3,
        channels=8,
        d_state=2,
        routes=("row", "column", "row_reversed"),
        batch=1,
        dtype=torch.bfloat16,
    )
    monkeypatch.setattr(triton_choice, "FULL", 1e9)
    monkeypatch.setattr(triton_choice, "WANTED", 10**9)
    found = []
    for large in (1, 1e9):
        monkeypatch.setattr(triton_choice, "LARGE_MAP", large)
        found.append(selective_scan(**inputs, backend="triton"))
    assert found[0].dtype == torch.bfloat16
    assert torch.equal(*found)


@inside
def test_several_pieces_in_either_direction(monkeypatch):
    both = triton_choice.Tiling(2, triton_choice.Config(2, 1), triton_choice.Config(2, 1))
    monkeypatch.setattr(triton_choice, "ONE_STATE", both)
    assert_same(
        make_inputs(3, 3, d_state=1, routes=PAIR, batch=1, dtype=torch.float32), "triton", 2e-5
    )


@inside
def test_strided_inputs():
    inputs = make_inputs(2, 3, channels=8, routes=PAIR, batch=1, dtype=torch.float32)
    packed = torch.cat([inputs["B"], inputs["C"]], -1)
    strided = inputs | dict(
        B=packed[..., :3],
        C=packed[..., 3:],
        delta=inputs["delta"].permute(2, 0, 1, 3).contiguous().permute(1, 2, 0, 3),
    )
    assert torch.equal(
        selective_scan(**inputs, backend="triton"), selective_scan(**strided, backend="triton")
    )


@inside
def test_second_derivatives_and_forward_mode():
    inputs = make_inputs(2, 2, channels=2, d_state=1, routes=PAIR, batch=1, dtype=torch.float32)
    args = ScanArgs(inputs["index"], True, True, torch.float32)

    def scan(u, delta, A, B, C, D, delta_bias):
        return selective_scan(
            u,
            delta,
            A,
            B,
            C,
            D,
            index=args.index_KT,
            delta_bias=delta_bias,
            delta_softplus=True,
            backend="triton",
        )

    def loop(u, *others):
        return naive.scan(u.unsqueeze(2), *others, args).squeeze(2)

    given = [inputs[name] for name in NAMES]
    assert_second_order_equal(scan, loop, given, 1e-3)
    assert_forward_equal(scan, loop, given)


@inside
def test_opcheck():
    inputs = make_inputs(2, 2, channels=4, d_state=1, routes=("row",), batch=1, dtype=torch.float32)
    tensors = [
        inputs[name].requires_grad_() for name in ("u", "delta", "A", "B", "C", "D", "delta_bias")
    ]
    tensors[0] = tensors[0].detach().unsqueeze(2).requires_grad_()
    args = (*tensors, inputs["index"], True, True, torch.float32, True, False, "triton")
    torch.library.opcheck(torch.ops.mmmamba.selective_scan.default, args)


@inside
def test_errors_and_choice():
    assert resolve(torch.device("cpu")) != "triton"
    inputs = make_inputs(2, 2, batch=1, dtype=torch.float32)
    with pytest.raises(TypeError, match=r"u is torch.float64, wanted float32, float16 or bfloat16"):
        selective_scan(**inputs | dict(u=inputs["u"].double()), backend="triton")
    with pytest.raises(IndexError, match="positions 1 to 4 of a map of 4"):
        selective_scan(**inputs | dict(index=inputs["index"] + 1), backend="triton")


@inside
def test_tiles_beyond_the_route_touch_nothing(monkeypatch):
    """The last chunk may have more tiles than are left: 17 steps are five, in chunks of three."""
    monkeypatch.setattr(triton_choice, "FULL", 1e9)
    monkeypatch.setattr(triton_choice, "WANTED", 1)
    inputs = make_inputs(
        1, 17, channels=3, d_state=2, routes=("row",), batch=1, dtype=torch.float32
    )
    assert_same(inputs, "triton", 2e-5)
