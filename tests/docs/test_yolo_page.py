"""The examples of docs/yolo.md run."""

import shutil
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope

from tests.checkpoints import test_pickled_models as pickled

from .blocks import run_page

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared/data/bccd"
program = pickled.program


@pytest.mark.skipif(not DATA.is_dir(), reason=f"no blood cells at {DATA}")
def test_the_page(program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    monkeypatch.chdir(tmp_path)
    state = pickled.published_shape()
    pickled.save(tmp_path / "best.pt", pickled.tree(program, state))
    pickled.forget(monkeypatch)
    run_page(
        "docs/yolo.md",
        special={"_base_ =": own_data, "fuse(MODELS": inference},
        parsed=("tools/train.py", "CHECKPOINT"),
    )
    saved = torch.load("best.pth", weights_only=True)["state_dict"]
    assert torch.equal(saved["backbone.stem.0.weight"], state["model.0.conv.0.weight"])


def own_data(block: str) -> None:
    file = Path("configs/mamba_yolo/mine.py")
    file.write_text(block.replace("data/bccd/", f"{DATA}/"))
    cfg = Config.fromfile(file)
    init_default_scope(cfg.default_scope)
    for loader, images in ((cfg.train_dataloader, 120), (cfg.test_dataloader, 60)):
        dataset = DATASETS.build(loader.dataset)
        assert (
            len(dataset) == images
            and len(dataset.metainfo["classes"]) == cfg.model.bbox_head.num_classes
        )
        assert len(dataset[0]["data_samples"].gt_instances)
    assert cfg.test_evaluator.ann_file == f"{DATA}/annotations/instances_val.json"
    # What the table under it changes.
    assert (
        cfg.custom_hooks[3].type == "EarlyStoppingHook"
        and cfg.custom_hooks[2].type == "PipelineSwitchHook"
    )
    assert (
        cfg.train_dataloader.dataset.pipeline[4].type == "CachedMixUp"
        and "end" in cfg.param_scheduler[0]
    )


def inference(block: str) -> None:
    names = {}
    exec(block, names)
    assert [m.shape[1] for m in (*names["class_maps"], *names["box_maps"])] == [80] * 3 + [64] * 3
