"""What mmcv's compiled kernels and torchvision answer for deformable convolution, as figures.

`deform_conv_figures.json` holds, for each case below, the norm of the output and of every gradient
and two sums of it with fixed waves. mmcv's come from its own C++ sources for the CPU, compiled by

    pip download --no-deps --no-build-isolation --no-binary :all: onedl-mmcv==2.3.6
    tar xf onedl_mmcv-2.3.6.tar.gz
    python -m tests.compat.deform_conv_figures onedl_mmcv-2.3.6/mmcv/ops/csrc

which takes g++, ninja and some three minutes, and writes the file anew.
"""

import argparse
import importlib
import json
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor

FIGURES = Path(__file__).with_suffix(".json")
Pair = tuple[int, int]


@dataclass(frozen=True)
class Case:
    """A deformable convolution; with `modulated` it has a mask and a bias (v2).

    offsets: "initial" (zeros, by a convolution without weights), "whole" (integers, so that many
        samples lie exactly on the border) or "random".
    maps: size of offsets and masks where it is not the output's.
    """

    modulated: bool
    offsets: str
    size: Pair
    batch: int = 1
    channels: Pair = (4, 4)
    kernel: Pair = (3, 3)
    stride: Pair = (1, 1)
    padding: Pair = (1, 1)
    dilation: Pair = (1, 1)
    groups: int = 1
    offset_groups: int = 1
    maps: Pair | None = None
    dtype: torch.dtype = torch.float64

    @property
    def geometry(self) -> tuple:
        return self.stride, self.padding, self.dilation, self.groups, self.offset_groups

    @property
    def output_size(self) -> list[int]:
        spans = zip(self.size, self.kernel, self.stride, self.padding, self.dilation)
        return [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in spans]


ODD = dict(
    size=(7, 5),
    batch=2,
    channels=(4, 6),
    kernel=(3, 2),
    stride=(2, 1),
    padding=(1, 2),
    dilation=(1, 2),
    groups=2,
    offset_groups=2,
)
CASES = {
    f"v{2 if modulated else 1} {name}": Case(modulated, **options)
    for modulated in (False, True)
    for name, options in {
        "initial 7x7": dict(offsets="initial", size=(7, 7)),
        "initial 50x50": dict(offsets="initial", size=(50, 50)),
        "initial strided": dict(offsets="initial", size=(9, 8), batch=2, stride=(2, 2)),
        "initial, groups and a 3x2 kernel": dict(offsets="initial", **ODD),
        "random": dict(offsets="random", size=(7, 5), batch=2),
        "random, groups and a 3x2 kernel": dict(offsets="random", **ODD),
        "whole numbers": dict(offsets="whole", **ODD),
        "dilated": dict(offsets="whole", size=(8, 9), padding=(2, 2), dilation=(2, 2)),
        "float32": dict(offsets="random", dtype=torch.float32, **ODD),
        "float16": dict(offsets="random", dtype=torch.float16, **ODD),
    }.items()
} | {
    "v2 one pixel": Case(True, "random", (1, 1), batch=2),
    "v2 maps of twice the size": Case(True, "random", (6, 8), maps=(12, 16)),
    "v2 maps of another shape": Case(True, "whole", maps=(6, 9), **ODD),
    "v2 maps of a finer level": Case(True, "random", (7, 5), batch=2, maps=(13, 10)),
    "v2 maps of twice the size in float16": Case(
        True, "random", (6, 8), maps=(12, 16), dtype=torch.float16
    ),
}


def make_inputs(case: Case) -> dict[str, Tensor]:
    """Leaves by name; NumPy's frozen generator gives the same numbers in every version."""
    random = np.random.RandomState(0)
    taps = case.offset_groups * case.kernel[0] * case.kernel[1]
    maps = case.maps or case.output_size
    in_channels, out_channels = case.channels
    shapes = dict(
        x=(case.batch, in_channels, *case.size),
        weight=(out_channels, in_channels // case.groups, *case.kernel),
    )
    if case.offsets == "initial":
        shapes["conv_offset"] = (2 * taps, in_channels, *case.kernel)
    else:
        shapes["offset"] = (case.batch, 2 * taps, *maps)
    if case.modulated:
        shapes |= dict(mask=(case.batch, taps, *maps), bias=(out_channels,))
    inputs = {name: torch.from_numpy(random.standard_normal(s)) for name, s in shapes.items()}
    if "conv_offset" in inputs:
        inputs["conv_offset"].zero_()
    else:
        inputs["offset"] *= 2
    if case.offsets == "whole":
        inputs["offset"].round_()
    if case.modulated:
        inputs["mask"].sigmoid_()
    return {name: value.to(case.dtype).requires_grad_() for name, value in inputs.items()}


def by_mmcv(case: Case, x: Tensor, offset: Tensor, weight: Tensor, **more: Tensor) -> Tensor:
    """mmcv's operator, with whatever extension stands behind it."""
    from mmcv.ops import deform_conv2d, modulated_deform_conv2d

    if case.modulated:
        return modulated_deform_conv2d(
            x, offset, more["mask"], weight, more["bias"], *case.geometry
        )
    return deform_conv2d(x, offset, weight, *case.geometry)


def by_torchvision(case: Case, x: Tensor, offset: Tensor, weight: Tensor, **more: Tensor) -> Tensor:
    return torchvision.ops.deform_conv2d(
        x, offset, weight, more.get("bias"), *case.geometry[:3], more.get("mask")
    )


def run(case: Case, operator: Callable[..., Tensor], device: str = "cpu") -> dict[str, Tensor]:
    """The output, and the gradients by name of a weighted sum of it."""
    leaves = {
        name: value.detach().to(device).requires_grad_()
        for name, value in make_inputs(case).items()
    }
    inputs = dict(leaves)
    if case.offsets == "initial":
        inputs["offset"] = F.conv2d(
            leaves["x"], inputs.pop("conv_offset"), None, *case.geometry[:3]
        )
    output = operator(case, **inputs)
    total = (output * wave(output, 0.37)).sum()
    grads = torch.autograd.grad(total, list(leaves.values()))
    return dict(zip(["output", *leaves], [output.detach(), *grads]))


def wave(like: Tensor, step: float) -> Tensor:
    values = torch.sin(torch.arange(like.numel(), dtype=torch.float64) * step + 0.2)
    return values.view(like.shape).to(like)


def summary(values: dict[str, Tensor]) -> dict[str, list[float]]:
    """Norm and two projections of each tensor."""
    wide = {name: value.cpu().double() for name, value in values.items()}
    return {
        name: [float(v.norm()), float((v * wave(v, 0.73)).sum()), float((v * wave(v, 1.9)).sum())]
        for name, v in wide.items()
    }


def compile_mmcv(csrc: Path) -> ModuleType:
    """mmcv's deformable convolutions for the CPU, bound as its own extension binds them."""
    from torch.utils.cpp_extension import load

    bindings = (csrc / "pytorch/pybind.cpp").read_text()
    names = re.findall(r"^void ((?:modulated_)?deform_conv_\w+)\(", bindings, re.MULTILINE)
    declared, bound = [], []
    for name in names:
        declared.append(re.search(rf"^void {name}\([^;]*;", bindings, re.MULTILINE).group())
        bound.append(re.search(rf'^  m\.def\("{name}",[^;]*;', bindings, re.MULTILINE).group())
    module = ["PYBIND11_MODULE(TORCH_EXTENSION_NAME, m) {", *bound, "}"]
    folder = Path(tempfile.mkdtemp(prefix="mmcv_cpu_"))
    header = ["#include <torch/extension.h>", "using at::Tensor;"]
    texts = {"bind": "\n".join([*header, *declared, *module])}
    for name in ("deform_conv", "modulated_deform_conv"):
        texts[name] = f'#include "{csrc.resolve()}/pytorch/{name}.cpp"'
        texts[f"{name}_cpu"] = f'#include "{csrc.resolve()}/pytorch/cpu/{name}.cpp"'
    for name, text in texts.items():
        (folder / f"{name}.cpp").write_text(text)
    return load(
        "mmcv_cpu",
        [str(folder / f"{name}.cpp") for name in texts],
        extra_include_paths=[str(csrc), str(csrc / "common")],
        build_directory=str(folder),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("csrc", type=Path, help="mmcv/ops/csrc of an unpacked source archive")
    from mmmamba.compat import install

    install()
    extension = compile_mmcv(parser.parse_args().csrc)
    for name in ("deform_conv", "modulated_deform_conv"):
        importlib.import_module(f"mmcv.ops.{name}").ext_module = extension
    figures = {}
    for name, case in CASES.items():
        figures[name] = dict(mmcv=summary(run(case, by_mmcv)))
        if case.maps is None:
            figures[name]["torchvision"] = summary(run(case, by_torchvision))
    FIGURES.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
