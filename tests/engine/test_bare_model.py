"""A network is found, and exchanged, inside whatever holds it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmengine.model import BaseModel, BaseTTAModel
from torch import Tensor, nn

from mmmamba.engine.bare_model import bare_model, with_bare_model
from mmmamba.engine.hooks.fuse import FuseHook


class Network(BaseModel):
    """A convolution and its batch norm."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4))

    def forward(self, inputs: Tensor, data_samples: Any = None, mode: str = "tensor") -> Tensor:
        return self.layers(inputs)


class Twice(BaseTTAModel):
    """Test-time augmentation that merges nothing."""

    def merge_preds(self, data_samples_list: list) -> list:
        return data_samples_list


HOLDERS = {
    "nothing": lambda network: network,
    "processes": nn.DataParallel,
    "mirrors": Twice,
    "processes and mirrors": lambda network: nn.DataParallel(Twice(network)),
}


@pytest.mark.parametrize("holder", HOLDERS)
def test_the_network_is_found_and_exchanged(holder: str) -> None:
    network, other = Network(), Network()
    model = HOLDERS[holder](network)
    assert bare_model(model) is network
    exchanged = with_bare_model(model, other)
    assert bare_model(exchanged) is other and type(exchanged) is type(model)


@pytest.mark.parametrize("holder", HOLDERS)
def test_a_network_is_fused_where_it_is(holder: str) -> None:
    network = Network().eval()
    runner = SimpleNamespace(model=HOLDERS[holder](network))
    FuseHook().before_test(runner)
    fused = bare_model(runner.model)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in fused.modules())
    image = torch.rand(1, 3, 5, 5)
    torch.testing.assert_close(fused(image), network(image))
