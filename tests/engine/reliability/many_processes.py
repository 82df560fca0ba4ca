"""What each of two processes finds for test_many_processes.py.

Each sees one image. Process 0 also sees both, together and one after the other, as one process
would.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import torch
import torch.distributed as dist
from mmengine.config import Config
from mmengine.model import MMDistributedDataParallel, revert_sync_batchnorm
from mmengine.optim import OptimWrapper
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import Runner, set_random_seed
from torch import Tensor, nn

import mmmamba.detection  # noqa: F401  before mmdet
from mmmamba.engine import sharding
from mmmamba.engine.hooks.graphs import GraphHook
from mmmamba.errors import UsageError
from tests.engine import tiny_models

STEPS = 3


def build(cfg: Config) -> nn.Module:
    """The same weights in each process, nothing random in the forward pass."""
    init_default_scope(cfg.default_scope)
    set_random_seed(0)
    return revert_sync_batchnorm(MODELS.build(cfg.model)).train()


def whole_batch(cfg: Config) -> dict:
    """Two images.

    To be read before the processes know of each other: samplers would give each its share.
    """
    init_default_scope(cfg.default_scope)
    cfg.train_dataloader.update(num_workers=0, persistent_workers=False)
    # Flips are drawn.
    set_random_seed(0)
    return next(iter(Runner.build_dataloader(cfg.train_dataloader, seed=0)))


def part(batch: dict, index: int) -> dict:
    return {key: value[index : index + 1] for key, value in batch.items()}


def loss_of(model: nn.Module, batch: dict, seed: int) -> Tensor:
    set_random_seed(seed)
    inner = getattr(model, "module", model)
    return inner.parse_losses(model(**inner.data_preprocessor(batch, True), mode="loss"))[0]


def difference(model: nn.Module, other: nn.Module) -> float:
    """Between all gradients, of their size."""
    pairs = [
        (p.grad, q.grad)
        for p, q in zip(model.parameters(), other.parameters())
        if q.grad is not None
    ]
    got, wanted = (torch.cat([gradients[i].flatten() for gradients in pairs]) for i in (0, 1))
    return ((got - wanted).norm() / wanted.norm()).item()


def compare(cfg: Config, batch: dict) -> dict[str, float]:
    """How gradients of two processes, and of accumulating, differ from those of one."""
    rank = dist.get_rank()
    together, spread, halves = build(cfg), build(cfg), build(cfg)
    whole = loss_of(together, batch, seed=0)
    whole.backward()
    # Gradients are exchanged as long as there is such an object.
    parallel = MMDistributedDataParallel(spread)
    mine = loss_of(parallel, part(batch, rank), seed=rank)
    mine.backward()
    mean = mine.detach().clone()
    dist.all_reduce(mean)
    wrapper = OptimWrapper(torch.optim.SGD(halves.parameters(), lr=0.0), accumulative_counts=2)
    # The optimizer's step would clear the gradients.
    wrapper.zero_grad = lambda **options: None
    wrapper.initialize_count_status(halves, 0, 2)
    for index in (0, 1):
        with wrapper.optim_context(halves):
            loss = loss_of(halves, part(batch, index), seed=index)
        wrapper.update_params(loss)
    return dict(
        loss=abs(mean.item() / 2 - whole.item()) / whole.item(),
        processes_and_batch=difference(spread, together),
        accumulating_and_batch=difference(halves, together),
        processes_and_accumulating=difference(spread, halves),
    )


def trained(model: nn.Module, batch: dict) -> list[float]:
    """Losses of some steps of this process."""
    wrapper = OptimWrapper(torch.optim.AdamW(model.parameters(), lr=1e-3))
    losses = []
    for step in range(STEPS):
        set_random_seed(step)
        losses.append(model.train_step(batch, wrapper)["loss"].item())
    return losses


def shard(cfg: Config, batch: dict) -> dict[str, float | str]:
    """How the losses of FSDP differ from DDP's.

    With it the part of the parameters that this process keeps, and what graphs say.
    """
    wanted = trained(MMDistributedDataParallel(build(cfg)), batch)
    model = build(cfg)
    count = sum(p.numel() for p in model.parameters())
    sharding.shard(model)
    try:
        GraphHook(1).before_train(SimpleNamespace(model=model))
        refused = ""
    except UsageError as error:
        refused = str(error)
    got = trained(model, batch)
    return dict(
        graphs_refused=refused,
        fsdp=max(abs(a - b) / b for a, b in zip(got, wanted)),
        kept=sum(sharding.share(p).numel() for p in model.parameters()) / count,
        moved=abs(wanted[0] - wanted[-1]) / wanted[0],
    )


def prepare(folder: Path) -> dict[str, tuple[Config, dict]]:
    """Configs, each with its batch."""
    configs = dict(
        segmentation=tiny_models.segmentation(folder), detection=tiny_models.detection(folder)
    )
    for head in (
        configs["segmentation"].model.decode_head,
        configs["segmentation"].model.auxiliary_head,
    ):
        head.update(norm_cfg=dict(type="GN", num_groups=4), dropout_ratio=0.0)
    given = {}
    for name, cfg in configs.items():
        cfg.model.backbone = dict(cfg.model.backbone, drop_path_rate=0.0)
        given[name] = cfg, whole_batch(cfg)
    return given


def find(given: dict[str, tuple[Config, dict]]) -> dict[str, dict[str, float | str]]:
    found = {name: compare(*one) for name, one in given.items()}
    cfg, batch = given["segmentation"]
    found["sharded"] = shard(cfg, part(batch, dist.get_rank()))
    return found
