"""ONNX models of small backbones, and what runs them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime
import torch
from torch import Tensor, nn

from mmmamba.exporting.graphs import Graph
from mmmamba.exporting.onnx import to_onnx
from mmmamba.exporting.tracing import trace
from mmmamba.models.backbones import EfficientVMamba, MambaVision, MobileMamba, Vim, VMamba

FAMILIES: dict[str, Any] = dict(
    vmamba=lambda: VMamba(arch=dict(embed_dims=16, depths=(1, 1)), out_indices=(0, 1)),
    efficientvmamba=lambda: EfficientVMamba(**EfficientVMamba.TINY),
    # OpenVINO 2026.4 mixes heads of an attention up with its tokens where there are as many.
    mambavision=lambda: MambaVision(arch=MambaVision.TINY["arch"] | dict(num_heads=(1, 1, 2, 8))),
    mobilemamba=lambda: MobileMamba(**MobileMamba.TINY),
    vim=lambda: Vim(**Vim.TINY),
)


class Maps(Graph):
    """The maps of a backbone."""

    task = "backbone"

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.output_names = tuple(f"map{i}" for i in range(len(backbone.out_indices)))

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.backbone(inputs[0]))


class Made:
    """A small backbone of a family, its ONNX model, and what it gives."""

    def __init__(self, family: str, dynamic: bool = False) -> None:
        torch.manual_seed(0)
        self.graph = Maps(FAMILIES[family]()).eval()
        shape = (2, 3, 97, 65) if dynamic else (1, 3, 64, 64)
        self._model = to_onnx(trace(self.graph, [torch.zeros(shape)], dynamic), self.graph)

    @property
    def model(self) -> ir.Model:
        """One of its own, that can be changed."""
        return self._model.clone()

    def expected(self, images: np.ndarray) -> list[np.ndarray]:
        with torch.inference_mode():
            return [found.numpy() for found in self.graph(torch.from_numpy(images))]


def images(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape, np.float32)


def run_onnx(file: Path, given: np.ndarray) -> list[np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    return session.run(None, dict(images=given))


def run_openvino(file: Path, given: np.ndarray) -> list[np.ndarray]:
    import openvino

    settings = dict(INFERENCE_PRECISION_HINT="f32", INFERENCE_NUM_THREADS=1)
    compiled = openvino.Core().compile_model(str(file), "CPU", settings)
    found = compiled(dict(images=given))
    return [np.array(found[one]) for one in compiled.outputs]


def largest_error(found: Sequence[np.ndarray], expected: Sequence[np.ndarray]) -> float:
    """The largest of all maps, as a share of the spread."""
    assert [one.shape for one in found] == [one.shape for one in expected]
    return max(float(np.abs(a - b).max() / b.std()) for a, b in zip(found, expected))


def common_error(found: Sequence[np.ndarray], expected: Sequence[np.ndarray]) -> float:
    """Root mean square of the worst map, as a share of the spread."""
    return max(float(np.sqrt(np.square(a - b).mean()) / b.std()) for a, b in zip(found, expected))
