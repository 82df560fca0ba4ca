"""`--precision`, `--graphs` and `--tf32` of training and testing, by the commands and in Python."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope

from mmmamba.commands import main
from mmmamba.engine import demo, runs
from mmmamba.engine.precision import choose_precision
from mmmamba.engine.runs import open_run
from mmmamba.errors import UsageError

from ..tools.conftest import TINY, TINY_SEG
from .tiny_models import SPEC, toy
from .tiny_runs import last, train

CPU = torch.device("cpu")
needs_cpu = pytest.mark.skipif(
    torch.cuda.is_available(), reason="asks for the device that is missing here"
)


@pytest.fixture(params=["detector", "segmentor"])
def trained(request, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """The config of a demo, and weights for it that find something."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo, "DEFAULT_SPEC", SPEC)
    path = tmp_path / f"{request.param}.py"
    path.write_text(TINY if request.param == "detector" else TINY_SEG)
    cfg = open_run(path, demo=True, work_dir=str(tmp_path / "run"))
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        model = MODELS.build(cfg.model)
    if request.param == "detector":
        torch.nn.init.normal_(model.roi_head.bbox_head.fc_cls.weight, std=0.5)
    torch.save(dict(state_dict=model.state_dict()), tmp_path / "weights.pth")
    return path, tmp_path / "weights.pth"


def dtypes(monkeypatch: pytest.MonkeyPatch) -> list[torch.dtype]:
    """Dtypes of the maps that come to heads, as they are met from now on.

    The first are those of the pass that checks that heads fit the backbone.
    """
    from mmdet.models.dense_heads import RPNHead
    from mmseg.models.decode_heads import UPerHead

    found: list[torch.dtype] = []
    for head in (RPNHead, UPerHead):

        def spy(self, maps, *rest, plain=head.forward, **more):
            found.append(maps[0].dtype)
            return plain(self, maps, *rest, **more)

        monkeypatch.setattr(head, "forward", spy)
    return found


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ([], None),
        (["--precision", "float32"], torch.float32),
        (["--precision", "bfloat16", "--tta", "--fuse", "--show-dir", "seen"], torch.bfloat16),
        (["--precision", "bfloat16", "--graphs", "off", "--tf32", "off"], torch.bfloat16),
        (["--precision", "bfloat16", "--no-fuse"], torch.bfloat16),
    ],
)
# Random weights name what they find outside of the small pictures.
@pytest.mark.filterwarnings("ignore:Warning. The text is out of bounds:UserWarning")
@needs_cpu
def test_a_test(trained, options, wanted, capsys, monkeypatch) -> None:
    seen = dtypes(monkeypatch)
    config, weights = trained
    assert main(["test", str(config), str(weights), "--demo", *options]) == 0
    wanted = wanted or choose_precision("auto", CPU).dtype
    printed = capsys.readouterr()
    assert seen[-1] == wanted
    name = str(wanted).removeprefix("torch.")
    lines = [line for line in printed.out.splitlines() if "predictions in" in line]
    assert len(lines) == 1 and f"predictions in {name} (" in lines[0]
    assert "TF32" not in printed.out and "graph" not in printed.out
    half = wanted != torch.float32 or "--fuse" in options
    assert ("--fuse: " in printed.out) == (half and "--no-fuse" not in options)


@pytest.mark.parametrize("command", ["train", "test"])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--graphs", "3"], "--graphs 3 asks for CUDA graphs, and this runs on cpu"),
        (["--graphs"], "expected one argument"),
        (["--graphs", "0"], "wanted off, auto or a number of sizes, not '0'"),
        (["--graphs", "on"], "wanted off, auto or a number of sizes, not 'on'"),
        (["--tf32", "on"], "--tf32 on is for GPUs"),
        (["--tf32", "1"], "wanted on or off, not '1'"),
        (["--precision", "half"], "'half'"),
        (["--precision", "float16"], "float16"),
    ],
)
@needs_cpu
def test_what_cannot_be_is_told_first(command, options, message, tmp_path, capsys) -> None:
    config = tmp_path / "detector.py"
    config.write_text(TINY)
    # Neither data nor weights are there.
    argv = [command, str(config), *(["weights.pth"] if command == "test" else []), *options]
    try:
        code = main([*argv, "--work-dir", str(tmp_path / "run")])
    except SystemExit as left:
        code = left.code
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert code == 2 and error.startswith("error: ")
    # Training has --amp.
    wanted = "unrecognized" if command == "train" and options[0] == "--precision" else message
    assert wanted in error


@pytest.mark.parametrize("graphs", [True, 0, -1, "3", 2.5, None])
def test_wrong_values_in_python(graphs, tmp_path) -> None:
    cfg = Config(dict(work_dir=str(tmp_path)))
    for run in (runs.train, lambda cfg, graphs: runs.test(cfg, "weights.pth", graphs=graphs)):
        with pytest.raises(UsageError, match="wanted 'off', 'auto' or a number of sizes"):
            run(cfg, graphs=graphs)


@needs_cpu
def test_training_on_a_cpu_is_as_it_was(trained, monkeypatch) -> None:
    """`auto` adds no hook and records nothing, so that old runs are resumed without a word."""
    config, _ = trained
    cfg = open_run(config, demo=True, work_dir="run")
    told = []
    monkeypatch.setattr(runs, "_train", lambda cfg, *rest: told.append((cfg, *rest)))
    runs.train(cfg)
    ((cfg, skip_bad_data, tf32),) = told
    assert tf32 is None and skip_bad_data is False
    assert not any("Graph" in hook["type"] for hook in cfg.get("custom_hooks") or [])
    assert "tf32" not in cfg.env_cfg


def test_training_updates_few_groups_by_one_kernel(tmp_path: Path) -> None:
    cfg = toy(tmp_path)
    cfg.optim_wrapper.optimizer.weight_decay = 0.1
    cfg.optim_wrapper.paramwise_cfg = dict(bias_decay_mult=0.0)
    assert train(cfg) == 0
    groups = last(cfg)["optimizer"]["param_groups"]
    # Of six parameters, weights and biases.
    assert [len(group["params"]) for group in groups] == [3, 3]
    assert all(group["fused"] for group in groups)
