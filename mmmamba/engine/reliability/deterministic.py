"""`--deterministic`: the same numbers from each run on a GPU, or an error with the operator."""

from __future__ import annotations

import os
from typing import Any

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import Tensor, nn

from ...compat import compiled_extension
from ..bare_model import bare_model


def make_deterministic(cfg: Config) -> None:
    """Have a config's run use deterministic algorithms only. Call it before CUDA is used."""
    cfg.randomness = dict(cfg.get("randomness") or {}, deterministic=True)
    # It measures in each run which algorithm is fastest, and that is not always the same one.
    if cfg.get("env_cfg"):
        cfg.env_cfg.cudnn_benchmark = False
    cfg.default_hooks.deterministic_pooling = dict(type="DeterministicPoolingHook")
    # Read when cuBLAS starts. Eight buffers of 4096 KiB: one of the two settings with which PyTorch
    # takes cuBLAS for deterministic.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    if compiled_extension() is not None:
        print_log(
            "--deterministic: mmcv's compiled operators (RoIAlign, deformable convolution) add in "
            "any order in their backward passes and raise no error; without them, those of "
            "mmmamba.compat are repeatable",
            "current",
            30,
        )


class MatrixAvgPool2d(nn.AdaptiveAvgPool2d):
    """`AdaptiveAvgPool2d` as two matrix products.

    Its own gradient is added in any order on a GPU.
    """

    def forward(self, x_BCHW: Tensor) -> Tensor:
        P, Q = _pair(self.output_size)
        H, W = x_BCHW.shape[-2:]
        # A side of None stays as long as it is.
        rows_PH = _window_means(P or H, H, x_BCHW)
        columns_QW = _window_means(Q or W, W, x_BCHW)
        return rows_PH @ x_BCHW @ columns_QW.T


def _pair(size: Any) -> tuple[int | None, int | None]:
    return tuple(size) if isinstance(size, (tuple, list)) else (size, size)


def _window_means(windows: int, length: int, like: Tensor) -> Tensor:
    """A matrix (windows, length): window i is the mean of its cells, as PyTorch lays them.

    They are those from floor(i L / n) to ceil((i + 1) L / n), of L cells and n windows.
    """
    window = torch.arange(windows, device=like.device)[:, None]
    cell = torch.arange(length, device=like.device)
    # In whole numbers; -(-a // b) rounds up. Windows may overlap, so a cell can be in several.
    inside = (cell >= window * length // windows) & (cell < -((window + 1) * -length // windows))
    return (inside / inside.sum(1, keepdim=True)).to(like.dtype)


@HOOKS.register_module()
class DeterministicPoolingHook(Hook):
    """Exchanges pooling whose gradients are added in any order.

    `MatrixAvgPool2d` takes the place of adaptive average pooling, and our RoIAlign that of
    torchvision's, which is compiled where algorithms are deterministic, for minutes.
    """

    def before_run(self, runner: Runner) -> None:
        from mmcv.ops import RoIAlign

        # A list, as modules are exchanged while it is gone through.
        for parent in [*bare_model(runner.model).modules()]:
            for name, child in parent.named_children():
                if type(child) is nn.AdaptiveAvgPool2d:
                    setattr(parent, name, MatrixAvgPool2d(child.output_size))
                elif isinstance(child, RoIAlign) and compiled_extension() is None:
                    child.use_torchvision = False
