"""Weights are judged by what will be stored, whatever type and attributes the file gives them."""

import time

import pytest
import torch
from torch import nn

import mmmamba
from mmmamba.checkpoints import CheckpointError, KeyMap, load_weights, read_checkpoint
from mmmamba.checkpoints.unwrap import MOST_TENSORS

PLAIN = torch.tensor([[1.0, 2.0], [3.0, 4.0]])


class Counting(nn.Module):
    def __init__(self, dtype=torch.float32) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2, 2, dtype=dtype))
        self.register_buffer("count", torch.tensor(0))


def load(weight=PLAIN, count=None, dtype=torch.float32):
    module = Counting(dtype)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    state = {"weight": weight, "count": torch.tensor(3) if count is None else count}
    try:
        load_weights(module, state, family=KeyMap())
    except CheckpointError:
        assert all(
            torch.equal(before[name], tensor) for name, tensor in module.state_dict().items()
        )
        raise
    return module


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "weight, reason",
    [
        (lambda: PLAIN.double() * 1e39, "hold too large for float32"),
        (lambda: PLAIN + torch.inf, "hold NaN or infinity"),
        (lambda: PLAIN.to(torch.complex64), "are complex64, wanted float32"),
        (lambda: PLAIN.to(torch.int8), "are int8, wanted float32"),
        (lambda: PLAIN > 2, "are bool, wanted float32"),
        (lambda: PLAIN.to(torch.float8_e4m3fn), "are float8_e4m3fn, wanted float32"),
        (lambda: PLAIN.to_sparse(), r"are sparse \(torch.sparse_coo\)"),
        (lambda: PLAIN.to_sparse_csr(), r"are sparse \(torch.sparse_csr\)"),
        (
            lambda: torch.quantize_per_tensor(PLAIN, 0.1, 0, torch.qint8),
            r"are quantized \(torch.qint8\)",
        ),
        (lambda: PLAIN.to("meta"), "are on the meta device"),
        (lambda: torch.nested.nested_tensor([PLAIN[0], PLAIN[1]]), "are nested"),
    ],
)
def test_weights_that_cannot_be_stored_as_they_are_are_refused(weight, reason):
    with pytest.raises(CheckpointError, match=f"1 tensors {reason}.*: weight"):
        load(weight())


def test_a_module_in_half_precision_is_given_no_infinity():
    load(PLAIN, dtype=torch.float16)
    with pytest.raises(CheckpointError, match="1 tensors hold too large for float16: weight"):
        load(PLAIN * 1e5, dtype=torch.float16)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_floating_point_of_another_width_is_taken(dtype):
    assert torch.equal(load(PLAIN.to(dtype)).weight, PLAIN)


def test_a_count_may_come_as_any_number_that_it_can_hold():
    for count in (torch.tensor(7.0), torch.tensor(7, dtype=torch.int32)):
        assert load(count=count).count == 7
    for count in (torch.tensor(0.5), torch.tensor(torch.nan), torch.tensor(1e30)):
        with pytest.raises(
            CheckpointError, match="1 tensors hold float32 that int64 does not hold: count"
        ):
            load(count=count)
    with pytest.raises(CheckpointError, match="1 tensors are complex64, wanted int64: count"):
        load(count=torch.tensor(1j))


@pytest.mark.parametrize("parameter", [True, False])
def test_attributes_that_a_file_restores_hide_nothing(parameter, tmp_path):
    weight = nn.Parameter(PLAIN * torch.nan) if parameter else PLAIN * torch.nan
    weight.is_floating_point = weight.isfinite = weight.to = "hidden"
    torch.save({"weight": weight, "count": torch.tensor(0)}, tmp_path / "file.pth")
    with pytest.raises(CheckpointError, match="hold NaN or infinity: weight"):
        load_weights(Counting(), read_checkpoint(tmp_path / "file.pth"), family=KeyMap())


ESCAPES = "\x1b]0;owned\x07\x1b[2Jweight\nerror: all is well"


@pytest.mark.parametrize(
    "state",
    [
        {ESCAPES: PLAIN},
        {"backbone." + ESCAPES: PLAIN, "head.weight": PLAIN},
        {"state_dict": {"weight": PLAIN, "count": torch.tensor(0)}, ESCAPES: {"a": PLAIN}},
        {ESCAPES: 1},
        {"weight": PLAIN, "count": torch.tensor(0), "x" + "y" * 5000: PLAIN},
    ],
)
def test_names_reach_the_terminal_spelled_out_and_short(state, caplog):
    with caplog.at_level("INFO", logger="mmmamba"):
        try:
            message = str(load_weights(Counting(), state, family=KeyMap()))
        except CheckpointError as error:
            message = str(error)
    for text in (message, caplog.text):
        assert (
            "\x1b" not in text
            and "\x07" not in text
            and "\nerror:" not in text
            and len(text) < 2000
        )


def seconds(backbone, name, number):
    one = torch.zeros(1)
    state = {name.format(index): one for index in range(number)}
    begin = time.perf_counter()
    with pytest.raises(CheckpointError):
        load_weights(backbone, state)
    return time.perf_counter() - begin


def test_many_names_take_little_time():
    """The family with the most renames. More than are looked at one by one are refused at once."""
    backbone = mmmamba.create_backbone("mamba_yolo_t")
    for name in ("x.{}.weight", "module." * 60 + "{}"):
        assert seconds(backbone, name, MOST_TENSORS) < 5
        assert seconds(backbone, name, 100_000) < 0.5
