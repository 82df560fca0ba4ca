"""Files in which a foreign program pickled its model: the tensors come out, nothing is run."""

import argparse
import functools
import os
import pathlib
import sys
import time
import types
import zipfile
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from torch import nn

import mmmamba
import mmmamba.detection
from mmmamba.checkpoints import CheckpointError, load_weights, read_checkpoint

from ..attacks.programs import PROGRAMS
from ..parity import harness, recipe
from .pickle_programs import archive, mapping

CONFIG = Path(__file__).parents[2] / "configs" / "mamba_yolo" / "mamba_yolo_t_300e_coco.py"


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """A program that defines a model, of the names of the one that Mamba YOLO's users run."""
    tasks = types.ModuleType("ultralytics.nn.tasks")

    class DetectionModel(nn.Module):
        def forward_once(self) -> None:
            pass

    DetectionModel.__module__, DetectionModel.__qualname__ = tasks.__name__, "DetectionModel"
    tasks.DetectionModel = DetectionModel
    for name in ("ultralytics", "ultralytics.nn"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, tasks.__name__, tasks)
    return tasks


def tree(program: types.ModuleType, state: dict[str, torch.Tensor]) -> nn.Module:
    """A module with these tensors at these names."""
    root = program.DetectionModel()
    for name, tensor in state.items():
        *path, leaf = name.split(".")
        node = root
        for part in path:
            if part not in node._modules:
                node.add_module(part, program.DetectionModel())
            node = node._modules[part]
        if leaf.startswith(("running", "num")):
            node.register_buffer(leaf, tensor)
        else:
            node.register_parameter(leaf, nn.Parameter(tensor))
    return root


def save(path: Path, model: nn.Module, **more: object) -> Path:
    # What such models carry around beside their tensors.
    model.args = types.SimpleNamespace(
        lr=0.01, names={0: "person"}, save_dir=pathlib.PosixPath("runs")
    )
    model.yaml = dict(nc=80)
    model.forward_core = functools.partial(model.forward_once)
    model.register_buffer("anchors", torch.zeros(3), persistent=False)
    torch.save(
        dict(epoch=-1, ema=None, updates=7, train_args=dict(batch=64), date="2026-11-22")
        | more
        | dict(model=model if "ema" not in more else None),
        path,
    )
    return path


def detector() -> nn.Module:
    cfg = Config.fromfile(CONFIG)
    init_default_scope(cfg.default_scope)
    return MODELS.build(cfg.model)


def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in sys.modules if n.startswith("ultralytics")]:
        monkeypatch.delitem(sys.modules, name)


def published_shape() -> dict[str, torch.Tensor]:
    state = harness.weights(recipe.load_case("mamba_yolo/mamba_yolo_t.json")["state_dict"])
    for name in [name for name in state if name.endswith(".running_mean")]:
        state[name.replace("running_mean", "num_batches_tracked")] = torch.tensor(3)
    state["model.21.dfl.conv.weight"] = torch.arange(16.0).view(1, 16, 1, 1)
    return state


@pytest.mark.parametrize("key", ["model", "ema"])
def test_a_users_file_loads_without_its_program(key, program, tmp_path, monkeypatch) -> None:
    """After training the weights are in `model`, during it in `ema`; in half precision."""
    state = published_shape()
    model = tree(program, state).half()
    path = save(tmp_path / "best.pt", model, **({"ema": model} if key == "ema" else {}))
    forget(monkeypatch)
    whole = detector()
    report = load_weights(whole, path)
    assert "ultralytics" not in sys.modules
    assert not report.missing and report.unexpected == ["21.dfl.conv.weight"]
    wanted = detector()
    load_weights(
        wanted, {n: t.half().float() if t.is_floating_point() else t for n, t in state.items()}
    )
    for name, tensor in wanted.state_dict().items():
        assert torch.equal(whole.state_dict()[name], tensor), name
    backbone = mmmamba.create_backbone("mamba_yolo_t", weights=path)
    assert torch.equal(backbone.stem[0].weight, whole.backbone.stem[0].weight)


def test_our_own_file_of_the_detector_loads_whole(tmp_path) -> None:
    first, second = detector(), detector()
    torch.save(dict(state_dict=first.state_dict()), tmp_path / "epoch_1.pth")
    assert not second.load_weights(tmp_path / "epoch_1.pth").missing
    assert all(
        torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values())
    )


class Runs:
    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("function", [os.system, eval, os.remove, __import__])
def test_a_file_that_would_run_something_is_refused(function, program, tmp_path) -> None:
    marker = tmp_path / "marker"
    marker.touch()
    order = {
        os.system: f"rm {marker}",
        eval: f"__import__('os').remove({str(marker)!r})",
        os.remove: str(marker),
        __import__: "this",
    }[function]
    model = tree(program, {"model.0.weight": torch.ones(2)})
    model.hidden = Runs(function, order)
    path = save(tmp_path / "evil.pt", model)
    with pytest.raises(CheckpointError, match="Refused"):
        read_checkpoint(path)
    assert marker.exists() and "this" not in sys.modules


def test_a_named_class_with_arguments_is_not_called(program, tmp_path) -> None:
    """What stands for the program's classes does nothing, even where the file has it called."""
    called = []
    program.DetectionModel.setup = staticmethod(called.append)
    program.run = lambda order: called.append(order)
    program.run.__module__, program.run.__qualname__, program.run.__name__ = (
        program.__name__,
        "run",
        "run",
    )
    model = tree(program, {"model.0.weight": torch.ones(2)})
    model.hidden = Runs(program.run, "order")
    held = read_checkpoint(save(tmp_path / "odd.pt", model))
    assert not called and list(held["model"]) == ["model.0.weight"]


def test_namespaces_of_other_files_are_still_options(tmp_path) -> None:
    torch.save(
        dict(model={"weight": torch.ones(2)}, args=argparse.Namespace(lr=1)),
        tmp_path / "classifier.pth",
    )
    assert torch.equal(
        read_checkpoint(tmp_path / "classifier.pth")["model"]["weight"], torch.ones(2)
    )


def test_another_scale_is_named(tmp_path) -> None:
    """A file of another variant says which it is, not that it is of another family."""
    with pytest.raises(
        CheckpointError, match=r"The file is a mamba_yolo_t .*; this module is a mamba_yolo_b "
    ):
        load_weights(mmmamba.create_backbone("mamba_yolo_b"), published_shape())


def test_shared_modules_are_listed_as_a_state_dict_lists_them(program, tmp_path) -> None:
    """One activation serves all layers of such models, and tied layers stand under two names."""
    layer, activation = tree(program, {"weight": torch.ones(2)}), program.DetectionModel()
    root = program.DetectionModel()
    for name in ("first", "second"):
        root.add_module(name, layer)
        root.add_module(f"{name}_act", activation)
    held = read_checkpoint(save(tmp_path / "tied.pt", root))["model"]
    assert (
        list(held) == ["first.weight", "second.weight"] == list(root.state_dict(keep_vars=True))[:2]
    )
    assert held["first.weight"].data_ptr() == held["second.weight"].data_ptr()


@pytest.mark.parametrize(
    "title, words",
    [
        ("modules shared twice a level", ""),
        ("modules with a weight shared twice a level", "more than 20,000 tensors"),
        ("a module in itself", "holds itself"),
        ("a shared weight that claims to be huge", "far larger than the file"),
    ],
)
def test_modules_without_end(title, words, tmp_path) -> None:
    whole = mapping(model=PROGRAMS[title], epoch=b"K\x01")
    path = archive(tmp_path / "model.pt", whole)
    with zipfile.ZipFile(path, "a") as file:
        file.writestr(file.namelist()[0].split("/")[0] + "/data/0", bytes(16))
    begin = time.perf_counter()
    if words:
        with pytest.raises(CheckpointError, match=f"is refused: .*{words}"):
            read_checkpoint(path)
    else:
        assert read_checkpoint(path)["model"] == {}
    assert time.perf_counter() - begin < 5
