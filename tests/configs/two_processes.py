"""What each of two processes finds for test_two_processes.py.

Two steps of DDP, each process with an image of its own. DDP raises in the second where a parameter
got no gradient.
"""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import torch
import torch.distributed as dist
from mmengine.config import Config
from mmengine.hub import get_config
from mmengine.logging import MMLogger
from mmengine.model import MMDistributedDataParallel, revert_sync_batchnorm
from mmengine.optim import OptimWrapper
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import Runner, set_random_seed
from mmengine.structures import PixelData
from torch import nn

import mmmamba.detection  # noqa: F401  before mmdet
from mmmamba.datasets.shapes import ShapesSpec
from mmmamba.engine.demo import apply_demo
from tests.configs.conftest import CONFIGS, SIZE, sample_with_a_square
from tests.configs.golden import shrink
from tests.narrow import narrow

VMAMBA = dict(type="VMamba", arch=dict(embed_dims=16, depths=(1, 1, 1, 1)))
WIDTHS = [16, 32, 64, 128]


def folders() -> dict[str, Path]:
    """The first config of every folder, and those of a backbone whose neck leaves a map unread.

    Classifiers have no head that could leave parameters unread.
    """
    firsts = {}
    for path in sorted(CONFIGS.glob("*/*.py")):
        if path.parent.name not in ("_base_", "imagenet", "sum"):
            firsts.setdefault(path.parent.name, path)
    return {
        **firsts,
        "retinanet of efficientvmamba_t": CONFIGS / "retinanet/efficientvmamba_t_1x_coco.py",
    }


def own(path: Path, folder: Path, side: int) -> tuple[Config, list[dict]]:
    """A config of ours with a tiny backbone, and two batches of one shape image."""
    cfg = Config.fromfile(path)
    init_default_scope(cfg.default_scope)
    narrow(cfg.model)
    shrink(cfg.model)
    apply_demo(cfg, folder, ShapesSpec(num_train=4, num_val=1, size=side))
    cfg.train_dataloader.update(batch_size=2, num_workers=0, persistent_workers=False)
    return cfg, list(islice(Runner.build_dataloader(cfg.train_dataloader, seed=0), 2))


def drop_in(name: str) -> tuple[Config, list[dict]]:
    """A config of mmdet or mmseg with our backbone in it, and two batches of one square."""
    cfg = get_config(name)
    init_default_scope(cfg.default_scope)
    cfg.model.backbone = dict(VMAMBA)
    cfg.model.pop("pretrained", None)
    if "detr" in name:
        cfg.model.backbone.out_indices = (3,)
        cfg.model.neck.in_channels = WIDTHS[3:]
    elif "neck" in cfg.model:
        cfg.model.neck.in_channels = WIDTHS
    else:
        cfg.model.decode_head.in_channels = WIDTHS[cfg.model.decode_head.in_index]
        cfg.model.auxiliary_head.in_channels = WIDTHS[cfg.model.auxiliary_head.in_index]
        cfg.model.data_preprocessor.size = (SIZE, SIZE)
    images = torch.randint(0, 256, (4, 3, SIZE, SIZE), dtype=torch.uint8)
    batches = [
        dict(inputs=list(pair), data_samples=[_sample(cfg), _sample(cfg)])
        for pair in images.split(2)
    ]
    return cfg, batches


def _sample(cfg: Config):
    if cfg.default_scope == "mmdet":
        return sample_with_a_square()
    from mmseg.structures import SegDataSample

    sample = SegDataSample(metainfo=dict(img_shape=(SIZE, SIZE), ori_shape=(SIZE, SIZE)))
    sample.gt_sem_seg = PixelData(data=torch.randint(0, 4, (1, SIZE, SIZE)))
    return sample


def two_steps(cfg: Config, batches: list[dict]) -> dict[str, float]:
    """Tell whether both steps came to a finite loss, and how far apart the weights are then."""
    set_random_seed(0)
    model = revert_sync_batchnorm(MODELS.build(cfg.model)).train()
    wrapped = MMDistributedDataParallel(model, device_ids=None, broadcast_buffers=False)
    optimizer = OptimWrapper(torch.optim.SGD(model.parameters(), lr=1e-4))
    finite = True
    for batch in batches:
        losses = wrapped.train_step(batch, optimizer)
        finite &= bool(torch.isfinite(losses["loss"]))
    return dict(finite=finite, apart=_apart(model))


def _apart(model: nn.Module) -> float:
    mine = torch.cat([p.detach().flatten() for p in model.parameters()])
    first = mine.clone()
    dist.broadcast(first, 0)
    return float((mine - first).abs().max())


DROP_INS = (
    "mmdet::retinanet/retinanet_r50_fpn_1x_coco.py",
    "mmdet::fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py",
    "mmdet::detr/detr_r50_8xb2-150e_coco.py",
    "mmseg::fcn/fcn_r50-d8_4xb2-40k_cityscapes-512x1024.py",
)


def prepare(folder: Path, rank: int) -> dict[str, tuple[Config, list[dict]]]:
    MMLogger.get_current_instance().setLevel("ERROR")
    cases = {
        name: own(path, folder / f"shapes{rank}_{name}", 128) for name, path in folders().items()
    }
    set_random_seed(rank)
    return cases | {name: drop_in(name) for name in DROP_INS}


def find(cases: dict[str, tuple[Config, list[dict]]]) -> dict[str, dict[str, float]]:
    found = {}
    for name, (cfg, batches) in cases.items():
        init_default_scope(cfg.default_scope)
        found[name] = two_steps(cfg, batches)
    return found
