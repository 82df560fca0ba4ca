"""Mamba YOLO computes what its authors' code computes, in the precision of their figures."""

import functools
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from mmengine.structures import InstanceData

import mmmamba.detection  # noqa: F401  (registers the detector)
from mmmamba.checkpoints import KEY_MAPS, load_weights
from mmmamba.checkpoints.loading import rename

from . import harness, recipe

CONFIGS = Path(__file__).parents[2] / "configs" / "mamba_yolo"
LEVELS = ("P3", "P4", "P5")
# The rounding of the stored samples, in units of an output's standard deviation.
FLOAT64 = 5e-6


@functools.cache
def manifest(case: str) -> dict:
    return recipe.load_case(f"mamba_yolo/{case}.json")["state_dict"]


def detector(scale: str, dtype: torch.dtype = torch.float64) -> torch.nn.Module:
    """The config's detector with the weights of its scale's cases."""
    cfg = Config.fromfile(CONFIGS / f"mamba_yolo_{scale}_300e_coco.py")
    init_default_scope(cfg.default_scope)
    model = MODELS.build(cfg.model)
    load_weights(model, harness.weights(manifest(f"mamba_yolo_{scale}")))
    return model.to(dtype)


def record(model: torch.nn.Module, image: torch.Tensor) -> dict[str, torch.Tensor]:
    """Every output that the cases name."""
    layers = model.backbone.layers
    inner = {
        "stem": model.backbone.stem,
        "stage1": layers[0].blocks[-1],
        "merge2": layers[0].downsample,
        "stage4": layers[3].blocks[-1],
    }
    seen: dict[str, torch.Tensor] = {}
    hooks = [
        module.register_forward_hook(
            functools.partial(lambda name, m, args, out: seen.update({name: out}), name)
        )
        for name, module in inner.items()
    ]
    maps = model.backbone(image)
    seen |= {f"backbone.{level}": m for level, m in zip(LEVELS, maps)}
    maps = model.neck(maps)
    seen |= {f"neck.{level}": m for level, m in zip(LEVELS, maps)}
    cls_scores, bbox_preds = model.bbox_head(maps)
    seen |= {f"head.box.{level}": m for level, m in zip(LEVELS, bbox_preds)}
    seen |= {f"head.cls.{level}": m for level, m in zip(LEVELS, cls_scores)}
    logits, _, boxes, _ = model.bbox_head.decode(cls_scores, bbox_preds)
    sides = boxes[..., 2:] - boxes[..., :2]
    seen["decoded"] = torch.cat(
        [boxes[..., :2] + sides / 2, sides, logits.sigmoid()], -1
    ).transpose(1, 2)
    seen |= {"boxes_xyxy": boxes, "scores": logits.sigmoid()}
    for hook in hooks:
        hook.remove()
    return seen


def worst(got: dict[str, torch.Tensor], want: dict[str, dict]) -> dict[str, float]:
    assert got.keys() >= want.keys()
    return {
        name: recipe.mismatch(got[name].detach().double().numpy(), figures)
        for name, figures in want.items()
    }


@pytest.mark.parametrize("scale", ["t", "b", pytest.param("l", marks=pytest.mark.slow)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_outputs(scale: str, dtype: torch.dtype) -> None:
    case = recipe.load_case(f"mamba_yolo/mamba_yolo_{scale}.json")
    model = detector(scale, dtype).eval()
    # The original counts its 16 fixed bins.
    assert sum(p.numel() for p in model.parameters()) == case["parameters"] - 16
    for suffix in ("", "_odd"):
        with torch.no_grad():
            got = record(model, torch.from_numpy(recipe.pixels(case[f"input{suffix}"])).to(dtype))
        limit = {
            name: FLOAT64 if dtype == torch.float64 else 3 * case["float32_mismatch"][name]
            for name in got
        }
        measured = worst(got, case[f"outputs{suffix}"])
        assert all(value <= limit[name] for name, value in measured.items()), measured


def ground_truth(rows: list[list[float]], images: int) -> list[InstanceData]:
    table = torch.tensor(rows, dtype=torch.float64).reshape(-1, 6)
    return [
        InstanceData(bboxes=table[table[:, 0] == i, 2:], labels=table[table[:, 0] == i, 1].long())
        for i in range(images)
    ]


def check_loss(losses: dict[str, torch.Tensor], case: dict, images: int, tolerance: float) -> None:
    """The head's losses are times the images, as differentiated; the figures are as logged."""
    want = {
        "loss_bbox": case["loss"]["box"],
        "loss_cls": case["loss"]["cls"],
        "loss_dfl": case["loss"]["dfl"],
    }
    assert losses.keys() == want.keys()
    for name, value in want.items():
        assert losses[name].item() / images == pytest.approx(value, rel=tolerance, abs=1e-12), name
    assert sum(losses.values()).item() == pytest.approx(case["backward_total"], rel=tolerance)


def check_assigned(
    head: torch.nn.Module, outputs: tuple, truth: list[InstanceData], case: dict
) -> None:
    """Which anchors are whose, with which target score."""
    logits, _, boxes, priors = head.decode(*outputs)
    total = 0.0
    for i, gt in enumerate(truth):
        result = head.assigner.assign(
            InstanceData(priors=priors, bboxes=boxes[i], scores=logits[i].sigmoid()), gt
        )
        scores = result.assign_metrics
        total += float(scores.sum())
        strong = (scores > 1e-6).nonzero()[:, 0].tolist()
        assert [[a, int(result.gt_inds[a]) - 1] for a in strong] == [
            row[:2] for row in case["anchors"][i]
        ]
        assert scores[strong].tolist() == pytest.approx(
            [row[2] for row in case["anchors"][i]], rel=1e-5
        )
        # The figures count those above 1e-6. In `edge` the 5-pixel box has one prior inside, of
        # target score 3e-15.
        assert len(strong) == case["positives"][i]
    assert total == pytest.approx(case["target_scores_sum"], rel=1e-5)


@pytest.mark.parametrize("name", ["boxes", "edge", "empty"])
def test_losses_of_the_head_alone(name: str) -> None:
    case = recipe.load_case("mamba_yolo/loss_t.json")["head_only"][name]
    head = MODELS.build(
        dict(type="YOLODFLHead", num_classes=80, in_channels=(64, 128, 256))
    ).double()
    raw = [
        torch.from_numpy(
            recipe.pixels(dict(shape=[2, 144, side, side], key=case["key"].format(level)))
        ).double()
        for level, side in zip(LEVELS, (40, 20, 10))
    ]
    outputs = [m[:, 64:] - 4 for m in raw], [m[:, :64] for m in raw]
    truth = ground_truth(case["boxes"], 2)
    check_loss(head.loss_by_feat(*outputs, truth), case, 2, 1e-5)
    check_assigned(head, outputs, truth, case["assigned"])


def test_a_training_step() -> None:
    case = recipe.load_case("mamba_yolo/loss_t.json")
    model = detector("t").train()
    got = record(model, torch.from_numpy(recipe.pixels(case["input"])).double())
    measured = worst(got, case["outputs"])
    assert max(measured.values()) <= FLOAT64, measured
    outputs = (
        [got[f"head.cls.{level}"] for level in LEVELS],
        [got[f"head.box.{level}"] for level in LEVELS],
    )
    truth = ground_truth(case["boxes"], 2)
    check_assigned(model.bbox_head, outputs, truth, case["assigned"])
    losses = model.bbox_head.loss_by_feat(*outputs, truth)
    check_loss(losses, case, 2, 1e-6)
    sum(losses.values()).backward()

    ours = {name: p.grad for name, p in model.named_parameters()}
    norm = torch.stack([g.norm() for g in ours.values()]).norm()
    assert float(norm) == pytest.approx(case["gradient_norm"], rel=1e-6)
    gradients = theirs_of(ours, case["gradients"])
    measured = worst(gradients, case["gradients"])
    assert max(measured.values()) <= 2e-5, measured
    statistics = theirs_of(dict(model.named_buffers()), case["batch_norm_after"])
    measured = worst(statistics, case["batch_norm_after"])
    assert max(measured.values()) <= 2e-5, measured


def theirs_of(ours: dict[str, torch.Tensor], figures: dict[str, dict]) -> dict[str, torch.Tensor]:
    """Our tensors under the originals' names and shapes."""
    plain = {name.removeprefix("model."): torch.tensor(figures[name]["shape"]) for name in figures}
    names = {
        ours_name: f"model.{their_name}"
        for their_name in plain
        for ours_name in rename({their_name: plain[their_name]}, KEY_MAPS["MambaYOLO"])
    }
    return {theirs: ours[name].reshape(figures[theirs]["shape"]) for name, theirs in names.items()}
