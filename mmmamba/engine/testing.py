"""What the test tool adds to a config: pictures, saved predictions, test-time augmentation."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.logging import print_log

from ..config.signatures import makes_one_of
from ..datasets.nodes import dataset_of_tests, plain_datasets
from ..errors import UsageError
from .demo_saliency import tells_saliency

FLIP_KEYS = ("flip", "flip_direction")


def show_predictions(
    cfg: Config, show: bool, show_dir: str | None, wait_time: float
) -> Path | None:
    """Turn the visualization hook on. Returns the folder that pictures go to, if any.

    Raises:
        UsageError: the config has no visualization hook, or the model tells saliency.
    """
    if not show and show_dir is None:
        return None
    if tells_saliency(cfg):
        raise UsageError(
            "--show and --show-dir draw classes and objects, and this model tells saliency: its "
            "maps are drawn by mmmamba infer, and written by --out"
        )
    hook = (cfg.get("default_hooks") or {}).get("visualization")
    if hook is None:
        raise UsageError(
            f"{cfg.filename} has no default_hooks.visualization, which --show and --show-dir turn "
            "on. Add visualization=dict(type='DetVisualizationHook') (mmdet), "
            "dict(type='SegVisualizationHook') (mmseg) or dict(type='VisualizationHook') "
            "(mmpretrain)"
        )
    classifies = cfg.get("default_scope") == "mmpretrain"
    # mmpretrain's draws every 5000th image, unless it is told.
    hook.update(dict(enable=True, interval=1) if classifies else dict(draw=True))
    if show:
        hook.update(show=True, wait_time=wait_time)
    if show_dir is None:
        return None
    folder = Path(show_dir).absolute()
    if classifies:
        hook.out_dir = str(folder)
        return folder
    if cfg.get("default_scope") == "mmseg":
        cfg.visualizer.update(save_dir=str(folder))
        return folder / "vis_data" / "vis_image"
    # An absolute path: the hook puts a relative one below work_dir/timestamp.
    hook.test_out_dir = str(folder)
    return folder


def add_output(cfg: Config, out: str | None) -> None:
    """Save predictions: a pickle of all of them or a folder of label maps (mmseg).

    Raises:
        UsageError: a detector's or a classifier's file does not end in .pkl or .pickle.
    """
    if out is None:
        return
    if cfg.get("default_scope") == "mmseg":
        more = {} if tells_saliency(cfg) else dict(keep_results=True)
        for evaluator in _evaluators(cfg):
            evaluator.update(output_dir=out, **more)
        return
    if not out.endswith((".pkl", ".pickle")):
        raise UsageError(
            f"--out {out}: predictions are saved as a pickle; name a file that ends in .pkl"
        )
    kind = "DumpResults" if cfg.get("default_scope") == "mmpretrain" else "DumpDetResults"
    cfg.test_evaluator = [*_evaluators(cfg), dict(type=kind, out_file_path=out)]


def use_test_time_augmentation(cfg: Config) -> None:
    """Wrap the model as `tta_model` and `tta_pipeline` say.

    Without them every image is tested with its mirror.

    Raises:
        UsageError: the model tells saliency, of which nothing is averaged.
    """
    if tells_saliency(cfg):
        raise UsageError("--tta averages classes, and this model tells saliency: leave it out")
    if cfg.get("default_scope") == "mmseg":
        cfg.setdefault("tta_model", dict(type="SegTTAModel"))
    elif cfg.get("default_scope") == "mmpretrain":
        cfg.setdefault("tta_model", dict(type="AverageClsScoreTTA"))
    else:
        nms = dict(type="nms", iou_threshold=0.5)
        cfg.setdefault(
            "tta_model", dict(type="DetTTAModel", tta_cfg=dict(nms=nms, max_per_img=100))
        )
    if cfg.get("tta_pipeline") is None:
        cfg.tta_pipeline = _flip_pipeline(dataset_of_tests(cfg)["pipeline"])
    if cfg.tta_model.type == "DetTTAModel":
        _keep_boxes(cfg)
    cfg.tta_model.module = cfg.model
    cfg.model = cfg.tta_model
    for dataset in plain_datasets(cfg.test_dataloader.dataset):
        dataset["pipeline"] = cfg.tta_pipeline


def leave_out_averages(cfg: Config) -> None:
    """Take mmpretrain's averaging of weights out of a test, which has nothing to average.

    Where weights were averaged in training, the checkpoint has the averages in their place. The
    hook would load its copy by names that a network with test-time augmentation does not have, and
    exchange it with layers that are folded.
    """
    kept = []
    for hook in cfg.get("custom_hooks") or []:
        # Of one that tests the other weights, too, both copies are wanted.
        other = hook.get("evaluate_on_origin") or not hook.get("evaluate_on_ema", True)
        if makes_one_of(hook, "EMAHook") and not other:
            print_log("tested are the averages of the weights, where they were averaged", "current")
        else:
            kept.append(hook)
    cfg.custom_hooks = kept


def _flip_pipeline(pipeline: Any) -> list:
    """The test pipeline, its last step done twice: as it is and mirrored."""
    *before, pack = deepcopy(pipeline)
    # By these the predictions are turned back. The flip that never comes is there to write them.
    if "meta_keys" in pack:
        pack["meta_keys"] = tuple(dict.fromkeys((*pack["meta_keys"], *FLIP_KEYS)))
    flips = [dict(type="RandomFlip", prob=prob) for prob in (0.0, 1.0)]
    return [*before, dict(type="TestTimeAug", transforms=[flips, [pack]])]


def _keep_boxes(cfg: Config) -> None:
    """MMDetection merges boxes only and refuses masks, so the mask branch is left out."""
    roi_head = cfg.model.get("roi_head") or {}
    if not roi_head.get("mask_head"):
        return
    for part in ("mask_head", "mask_roi_extractor"):
        roi_head.pop(part, None)
    cfg.default_hooks.loading.left_out = ["roi_head.mask_head"]
    for evaluator in _evaluators(cfg):
        if "metric" in evaluator:
            evaluator.metric = "bbox"
    print_log(
        "--tta: MMDetection merges boxes only; the mask branch is left out and masks are not "
        "scored",
        "current",
    )


def _evaluators(cfg: Config) -> list:
    return cfg.test_evaluator if isinstance(cfg.test_evaluator, list) else [cfg.test_evaluator]
