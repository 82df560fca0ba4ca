"""The state of any optimizer is compared with what it would keep itself; honest ones pass."""

from __future__ import annotations

import io
from typing import Any

import pytest
import torch
from mmengine.optim import AmpOptimWrapper, OptimWrapper, OptimWrapperDict
from mmengine.optim.optimizer import amp_optimizer_wrapper
from torch import nn

from mmmamba.engine.reliability.resume import optimizer_state
from mmmamba.engine.reliability.resume.optimizer_state import check_optimizer
from mmmamba.errors import UsageError

OPTIMIZERS = {
    "SGD": {},
    "SGD with momentum": dict(momentum=0.9),
    "SGD fused": dict(momentum=0.9, fused=True),
    "Adam": {},
    "AdamW fused": dict(fused=True),
    "AdamW amsgrad": dict(amsgrad=True),
    "Adagrad": {},
    "RMSprop": dict(momentum=0.9, centered=True),
    "Adafactor": {},
    "NAdam": {},
    "RAdam": {},
    "Adamax": {},
    "Adadelta": {},
    "ASGD": {},
}


def model() -> nn.Module:
    """A matrix, and a kernel whose memory is in another order than its axes."""
    return nn.Sequential(nn.Linear(3, 4), nn.Conv2d(2, 3, 3).to(memory_format=torch.channels_last))


def wrapped(network: nn.Module, name: str) -> OptimWrapper:
    kind = getattr(torch.optim, name.split()[0])
    return OptimWrapper(kind(network.parameters(), lr=0.01, **OPTIMIZERS[name]))


def stepped(wrapper: Any, network: nn.Module) -> dict:
    """The state after a step, as a file gives it back."""
    for parameter in network.parameters():
        parameter.grad = torch.randn_like(parameter)
    for one in wrapper.values() if isinstance(wrapper, OptimWrapperDict) else [wrapper]:
        one.optimizer.step()
    file = io.BytesIO()
    torch.save(wrapper.state_dict(), file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_optimizers_own_state_fits_and_no_memory_beyond_it_is_touched(name: str) -> None:
    network = model()
    held = stepped(wrapped(network, name), network)
    check_optimizer(held, wrapped(network, name), network, "file.pth")
    for entry in held["state"].values():
        for key, value in entry.items():
            if isinstance(value, torch.Tensor) and value.numel() > 1:
                entry[key] = value.new_zeros(1).expand(value.shape)
    if any(entry for entry in held["state"].values()):
        with pytest.raises(UsageError, match="has the strides|in the memory of 1"):
            check_optimizer(held, wrapped(network, name), network, "file.pth")


def test_another_optimizer() -> None:
    network = model()
    held = stepped(wrapped(network, "SGD with momentum"), network)
    with pytest.raises(UsageError, match="group 0 has no betas"):
        check_optimizer(held, wrapped(network, "AdamW fused"), network, "file.pth")


def test_a_group_for_each_parameter_as_other_programs_make_them() -> None:
    network = model()
    each = OptimWrapper(torch.optim.Adam([dict(params=[p]) for p in network.parameters()]))
    held = stepped(each, network)
    with pytest.raises(UsageError, match="constructor=DefaultOptimWrapperConstructor"):
        check_optimizer(held, wrapped(network, "Adam"), network, "file.pth")


def test_several_optimizers() -> None:
    network = model()

    def both() -> OptimWrapperDict:
        return OptimWrapperDict(
            one=wrapped(network[0], "Adam"), two=wrapped(network[1], "SGD with momentum")
        )

    held = stepped(both(), network)
    check_optimizer(held, both(), network, "file.pth")
    held["two"]["state"][0]["momentum_buffer"] = torch.zeros(2)
    with pytest.raises(UsageError, match=r"two: momentum_buffer of 1.weight has the shape \(2,\)"):
        check_optimizer(held, both(), network, "file.pth")
    del held["two"]
    with pytest.raises(UsageError, match="the optimizers one, here there are one, two"):
        check_optimizer(held, both(), network, "file.pth")


def test_the_scale_of_mixed_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    monkeypatch.setattr(optimizer_state, "print_log", lambda text, *_: lines.append(text))
    monkeypatch.setattr(amp_optimizer_wrapper, "is_cuda_available", lambda: True)
    network = model()
    wrapper = AmpOptimWrapper(optimizer=torch.optim.AdamW(network.parameters()))
    wrapper.loss_scaler = torch.amp.GradScaler("cpu")
    held = stepped(wrapper, network)
    check_optimizer(held, wrapper, network, "file.pth")
    held["loss_scaler"]["scale"] = torch.nan
    with pytest.raises(UsageError, match="loss_scaler.scale is nan, wanted 65536.0"):
        check_optimizer(held, wrapper, network, "file.pth")
    held["loss_scaler"].clear()
    with pytest.raises(UsageError, match="loss_scaler has no scale"):
        check_optimizer(held, wrapper, network, "file.pth")
    check_optimizer(held, wrapped(network, "AdamW fused"), network, "file.pth")
    del held["loss_scaler"]
    check_optimizer(held, wrapper, network, "file.pth")
    assert "the run had mixed precision" in lines[0] and "holds no loss_scaler" in lines[1]
