"""docs/model_zoo.md, written from the tables in the code and the configs."""

from __future__ import annotations

from pathlib import Path

from mmengine.config import Config

from ...checkpoints.published import list_published
from ...config.find import weights_of
from ...evaluation.counting import Count
from ...models.backbones.sizes import SIZES, agrees
from ...models.trunks.base import MambaBackbone

METHODS = {
    "mask_rcnn": "Mask R-CNN, COCO",
    "cascade_mask_rcnn": "Cascade Mask R-CNN, COCO",
    "retinanet": "RetinaNet, COCO",
    "mamba_yolo": "Mamba YOLO, COCO",
    "yolo": "YOLOX, RTMDet and DFL heads, COCO",
    "upernet": "UperNet, ADE20K",
    "semantic_fpn": "Semantic FPN, ADE20K",
    "cityscapes": "UperNet, Cityscapes",
}

HEAD = """# Model zoo

Written by `python tools/make_model_zoo.py`; do not edit. Nothing on this page has been reproduced here yet: the results
are the authors'. What has been checked is that every backbone computes what the authors' code computes
(`tests/parity/`), and the sizes below.

## Backbones
`create_backbone(name)` makes them. Parameters and multiply-adds are of the ImageNet classifier at its published
resolution, counted by us beside what the authors print. Counted: convolutions, linear layers and attention's products,
and 9·N + 1 for each channel and step of a scan with N states (VMamba's formula). Top-1 is the authors', on ImageNet-1K.
The dense variants (`vim_t_seg`, …) are no classifiers and are left out.
A † marks a figure that is neither within 1 % of the printed one nor rounds to it; the notes say why.

"""

NOTES = """
Notes on †:

- **MambaVision** prints multiply-adds without attention's products and without the scan; counted so they are
  {mambavision}.
- **LocalVim** prints a figure whose formula counts `conv1d`, `x_proj` and `dt_proj` once for four directions, and a
  scan step as 5·N + 2 (hunto/LocalMamba#36). **Vim**'s authors print none.
- **LocalVMamba** uses VMamba's formula for the scan; ours leaves out norms (of each of the four routes, before their
  gate) and projects no padding cells of the window routes.
- **EfficientVMamba-B** has 33.72 M parameters in its authors' own training log, too.

"""

LICENCES = """
"not published" in the last column: the authors published no ImageNet weights to start from. Licences are of the
weights, as their authors state them.

## Detectors and segmentors
AP is on COCO val2017, mIoU on ADE20K val, at one scale and (in brackets) at several with flips. "weights" leads to the
authors' own detector or segmentor, which loads with `--cfg-options load_from=URL` or as the argument of
`tools/test.py`. Once you have run one, `tools/test.py CONFIG CHECKPOINT --verify` says whether it meets the figure.

"""


def family_of(name: str) -> str:
    return next(family.__name__ for family in MambaBackbone.families() if name in family.ARCHS)


def backbone_row(name: str, counted: Count) -> str:
    """One line of the table of backbones."""
    size = SIZES[name]
    weights = list_published(name, "classification")
    top1 = weights[0].expected["top1"] if weights else size.top1
    cells = [
        family_of(name),
        f"`{name}`",
        str(size.size),
        _beside(counted.parameters / 1e6, size.parameters),
        _beside(counted.gflops, size.gflops),
        f"{top1:.1f}",
        f"[{weights[0].licence}]({weights[0].url})" if weights else "not published",
    ]
    return f"| {' | '.join(cells)} |"


def _beside(counted: float, printed: str | None) -> str:
    digits = 3 if counted < 1 else 2
    if printed is None:
        return f"{counted:.{digits}f} / –"
    return f"{counted:.{digits}f} / {printed}{'' if agrees(counted, printed) else ' †'}"


def backbone_table(counts: dict[str, Count]) -> str:
    """The table of all backbones whose sizes are published."""
    head = [
        "| family | name | image | parameters, M: counted / printed | multiply-adds, G: counted / printed | top-1 "
        "| weights |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    return (
        "\n".join([*head, *(backbone_row(name, counted) for name, counted in counts.items())])
        + "\n"
    )


def config_table(method: str, configs: Path) -> str:
    """The table of one method's configs."""
    detection = METHODS[method].endswith("COCO")
    results = "box AP | mask AP" if detection else "mIoU"
    lines = [
        f"| config | backbone | {results} | source | status | weights |",
        f"|{' --- |' * (6 + detection)}",
    ]
    for file in sorted((configs / method).glob("*.py")):
        cfg = Config.fromfile(file)
        arch = cfg.model.backbone.arch
        expected = cfg.get("expected") or {}
        scores = _detection_scores(expected) if detection else [_miou(expected)]
        status = (
            "no published result"
            if not expected
            else "verified"
            if expected["verified"]
            else "not verified here"
        )
        link = f"[{file.stem}](../configs/{method}/{file.name})"
        cells = [
            link,
            f"`{arch}`",
            *scores,
            expected.get("source", ""),
            status,
            _weights(file, arch),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _detection_scores(expected: dict) -> list[str]:
    metrics = expected.get("metrics", {})
    return [
        f"{100 * metrics[key]:.1f}" if key in metrics else ""
        for key in ("coco/bbox_mAP", "coco/segm_mAP")
    ]


def _miou(expected: dict) -> str:
    several = expected.get("metrics_tta")
    return (
        f"{expected['metrics']['mIoU']}{f' ({several.mIoU})' if several else ''}"
        if expected
        else ""
    )


def _weights(config: Path, arch: str) -> str:
    return ", ".join(f"[{p.licence}]({p.url})" for p in weights_of(config, arch))


def model_zoo_page(counts: dict[str, Count], configs: Path) -> str:
    """The whole page from the counts of `SIZES`' backbones."""
    plain = ", ".join(
        f"{name.removeprefix('mambavision_')} {c.linear:.2f}"
        for name, c in counts.items()
        if family_of(name) == "MambaVision"
    )
    parts = [HEAD, backbone_table(counts), NOTES.format(mambavision=plain), LICENCES]
    for method, title in METHODS.items():
        parts += [f"### {title}\n", config_table(method, configs), "\n"]
    return "".join(parts).rstrip("\n") + "\n"
