"""Write docs/model_zoo.md and the table of docs/checkpoints.md.

Run as `python tools/make_model_zoo.py`.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from mmengine.config import Config

from mmmamba.checkpoints import list_published
from mmmamba.checkpoints.catalogue import published_sizes
from mmmamba.checkpoints.published_files import Published
from mmmamba.commands.guard import guarded
from mmmamba.commands.list.rows import file_name, top1_of
from mmmamba.config.find import weights_of
from mmmamba.evaluation.counting import Count, count
from mmmamba.models.backbones.factory import family_of

ROOT = Path(__file__).parents[1]
ZOO, CHECKPOINTS = ROOT / "docs" / "model_zoo.md", ROOT / "docs" / "checkpoints.md"
FILES_COLUMNS = ["name", "task", "results", "file", "licence"]

CLASSIFIERS = "imagenet"
METHODS = {
    "mask_rcnn": "Mask R-CNN, COCO",
    "cascade_mask_rcnn": "Cascade Mask R-CNN, COCO",
    "retinanet": "RetinaNet, COCO",
    "mamba_yolo": "Mamba YOLO, COCO",
    "yolo": "YOLOX, RTMDet and DFL heads, COCO",
    "upernet": "UperNet, ADE20K",
    "semantic_fpn": "Semantic FPN, ADE20K",
    "cityscapes": "UperNet, Cityscapes",
    "mim_istd": "MiM-ISTD, small targets",
    "sum": "SUM, where people look",
    "sigma": "Sigma, pairs of colour and thermal or depth images",
    "tiled": "Faster R-CNN on tiles, VisDrone and DOTA",
}

HEAD = """# Model zoo

Nothing on this page has been reproduced here yet: the results are the authors'. What has been \
checked is that every backbone
computes what the authors' code computes (`tests/parity/`), and the sizes below. In the site a \
click on a column's name sorts, and
the field above a table searches. (`python tools/make_model_zoo.py` writes this page.)

## Backbones
`create_backbone(name)` makes them. Parameters and multiply-adds are of the ImageNet classifier \
at its published
resolution, as counted by us / as the authors print them. Counted: convolutions, linear layers and \
attention's products,
and 9·N + 1 for each channel and step of a scan with N states (VMamba's formula).
Top-1 is the authors', on ImageNet-1K, – where they did not train on it.
The dense variants (`vim_t_seg`, …) are no classifiers and are left out.
A † marks a figure that is neither within 1 % of the printed one nor rounds to it; the notes say \
why.

"""

NOTES = """
Notes on †:

- **MambaVision** prints multiply-adds without attention's products and without the scan; counted \
so they are
  {mambavision}.
- **LocalVim** prints a figure whose formula counts `conv1d`, `x_proj` and `dt_proj` once for \
four directions, and a
  scan step as 5·N + 2 (hunto/LocalMamba#36). **Vim**'s authors print none.
- **LocalVMamba** uses VMamba's formula for the scan; ours leaves out norms (of each of the four \
routes, before their
  gate) and projects no padding cells of the window routes.
- **EfficientVMamba-B** has 33.72 M parameters in its authors' own training log, too.
- **GroupMamba**'s authors cut what is behind the point of the parameters; our multiply-adds hold \
the scan and the last
  block of its classifier.
- **MLLA**-T has 24.39 M parameters in its authors' code, too.
- **VSSD** and **SpatialMamba**: which of their sums and scans the printed multiply-adds hold is \
not said.
- **MambaND** has as many parameters in its authors' code, 24.12 and 93.66 M without the last layer.
- **Heracles**' multiply-adds are of its cosine transforms as products. Its authors' code does \
not run as published; ours is that
  code mended, and stretches its filters to other sizes of images.
- **SiMBA**'s authors do not say whether their multiply-adds hold the scan; ours leave out the \
Fourier transforms.
- **PlainMamba**'s authors leave the classifier's linear layer out of the parameters.

"""

LICENCES = """
The last column leads to ImageNet weights to start from, "–" where the authors published none, \
and says their licence:

{licences}

## Not here, and why
{not_built}
## Classifiers
The recipes by which the authors trained the backbones on ImageNet-1K, and the top-1 that they \
print; [Pretraining](pretrain.md) tells
of them. Behind `mesa` the average of the weights teaches, behind `distilled` another network. A \
recipe without a figure leads to
the next stage of its family, or its first lines say what the authors' figure rests on that is not \
here. What ends in another data
set than `imagenet` is of families that were trained on that one.

{classifiers}
## Detectors and segmentors
AP is on COCO val2017, mIoU on ADE20K val or what the config's name says, at one scale and (in \
brackets) at several with flips,
as printed in the source; a ✓ stands behind what was met here. "weights" leads to the authors' own \
detector or segmentor, which loads with
`--cfg-options load_from=URL` or as the argument of `tools/test.py`. Once you have run one, \
`tools/test.py CONFIG CHECKPOINT --verify`
says whether it meets the figure.

"""
NOT_BUILT = {
    "FractalMamba, FractalMamba++": "no code and no weights, and its methods could not be read: "
    "the curve of its picture is [a route](routes.md#fractal_curve), the network is not here",
    "MambaMixer (ViM2)": "no code of its authors, and the paper (arXiv 2403.19888) does not "
    "determine the network: a rebuild would be a guess",
    "Voxel Mamba": "detects in points in space (arXiv 2406.10700), which neither MMDetection nor "
    "MMSegmentation reads",
    "HTD-Mamba": "looks for a known spectrum in a hyperspectral image, pixel by pixel: a task that "
    "neither MMDetection nor MMSegmentation has",
    "Fusion-Mamba": "detects in pairs of a visible and an infrared image; not yet, and its facts "
    "have not been gathered",
    "RWKV-SAM": "another operator than a scan, segmentation by prompts as a task of its own, no "
    "weights, and a licence for non-commercial use",
    "Mamba2D": "not yet; its authors' code states no licence, its facts and figures are gathered",
    "A2Mamba": "not yet; its authors' code states no licence, its facts and figures are gathered",
    "TinyViM": "not yet; its authors' code states no licence, its facts and figures are gathered",
    "SegMAN": "not yet; its facts and figures are gathered",
    "DAMamba": "not yet; its facts and figures are gathered",
    "EfficientViM": "not yet; timm has it (`efficientvim_m1` … `efficientvim_m4`)",
    "MambaOut": "Mamba's block without its scan, so no Mamba; timm has it (`mambaout_tiny`)",
}
"""Systems of the survey that cannot be made by a name, and why."""
NO_BREAK = "\u00a0"
SUPERSCRIPTS = "⁰¹²³⁴⁵⁶⁷⁸⁹"


def main() -> int:
    counts = {name: count(name, size.size) for name, size in published_sizes().items()}
    ZOO.write_text(model_zoo_page(counts, ROOT / "configs"), encoding="utf-8")
    page = CHECKPOINTS.read_text(encoding="utf-8")
    text = page[: page.index(_row(FILES_COLUMNS))]
    CHECKPOINTS.write_text(text + files_table(), encoding="utf-8")
    return 0


def model_zoo_page(counts: dict[str, Count], configs: Path) -> str:
    """The whole page from the counts of the backbones whose sizes are published."""
    linear = [
        f"{name.removeprefix('mambavision_')} {counted.linear:.2f}"
        for name, counted in counts.items()
        if family_of(name).__name__ == "MambaVision"
    ]
    parts = [
        HEAD,
        backbone_table(counts),
        NOTES.format(mambavision=", ".join(linear)),
        LICENCES.format(
            licences=licence_notes(),
            not_built=not_built_table(),
            classifiers=classifier_table(configs),
        ),
    ]
    for method, title in METHODS.items():
        parts += [f"### {title}\n", config_table(method, configs), "\n"]
    return "".join(parts).rstrip("\n") + "\n"


def not_built_table() -> str:
    """The table of what was looked at and is not here."""
    return _table(["system", "why"], [_row([name, why]) for name, why in NOT_BUILT.items()])


def backbone_table(counts: dict[str, Count]) -> str:
    """The table of all backbones whose sizes are published."""
    columns = [
        "family",
        "name",
        "image",
        "parameters, M",
        "multiply-adds, G",
        "top-1",
        "weights",
    ]
    rows = [backbone_row(name, counted) for name, counted in counts.items()]
    return _table(columns, rows)


def backbone_row(name: str, counted: Count) -> str:
    """One line of the table of backbones."""
    size = published_sizes()[name]
    weights = list_published(name, "classification")
    top1 = top1_of(name, size)
    cells = [
        family_of(name).__name__,
        f"`{name}`",
        str(size.size),
        _beside(counted.parameters / 1e6, size.parameters),
        _beside(counted.gflops, size.gflops),
        "–" if top1 is None else f"{top1:.1f}",
        _weights(weights[0]) if weights else "–",
    ]
    return _row(cells)


def _beside(counted: float, printed: str | None) -> str:
    digits = 3 if counted < 1 else 2
    if printed is None:
        return f"{counted:.{digits}f} / –"
    return f"{counted:.{digits}f} / {printed}{'' if agrees(counted, printed) else ' †'}"


def agrees(counted: float, printed: str) -> bool:
    """Whether two figures agree within 1 %, or within what printing so few digits leaves open."""
    digits = len(printed.partition(".")[2])
    return abs(counted - float(printed)) <= max(0.01 * float(printed), 0.5 * 10**-digits)


def config_table(method: str, configs: Path) -> str:
    """The table of one method's configs."""
    detection = METHODS[method].endswith(("COCO", "DOTA"))
    results = ["box AP", "mask AP"] if detection else ["mIoU"]
    rows = [config_row(file, detection) for file in sorted((configs / method).glob("*.py"))]
    return _table(["config", *results, "source", "weights"], rows)


def config_row(file: Path, detection: bool) -> str:
    """One line of a method's table."""
    cfg = Config.fromfile(file)
    expected = cfg.get("expected") or {}
    scores = _detection_scores(expected) if detection else [_miou(expected)]
    if expected.get("verified"):
        scores[0] += " ✓"
    cells = [
        f"[{file.stem}](../configs/{file.parent.name}/{file.name})",
        *scores,
        source_link(expected.get("source", "")),
        ", ".join(_weights(found) for found in weights_of(file, cfg.model.backbone.arch)),
    ]
    return _row(cells)


def classifier_table(configs: Path) -> str:
    """The table of the ImageNet recipes."""
    rows = [classifier_row(file) for file in sorted((configs / CLASSIFIERS).glob("*.py"))]
    return _table(["config", "top-1", "source", "weights"], rows)


def classifier_row(file: Path) -> str:
    """One line of the table of ImageNet recipes."""
    # Only values are read: MMPretrain need not be there.
    cfg = Config.fromfile(file, import_custom_modules=False)
    expected = cfg.get("expected") or {}
    top1 = f"{expected['metrics']['accuracy/top1']:.1f}" if expected else ""
    # Those of a recipe that leads to another are the other's.
    weights = weights_of(file, cfg.model.backbone.arch) if expected else []
    cells = [
        f"[{file.stem}](../configs/{CLASSIFIERS}/{file.name})",
        f"{top1} ✓" if expected.get("verified") else top1,
        source_link(expected.get("source", "")),
        ", ".join(_weights(found) for found in weights),
    ]
    return _row(cells)


def source_link(source: str) -> str:
    """Where a figure is printed, addresses as links with a short name."""
    linked = re.sub(r"https://github\.com/([\w./-]*\w)", r"[\1](https://github.com/\1)", source)
    return re.sub(r"arXiv (\d{4}\.\d{5}(v\d)?)", r"[arXiv \1](https://arxiv.org/abs/\1)", linked)


def _weights(found: Published) -> str:
    """A link of one word, the licence, with the number of its note."""
    word, mark = _licence(found).rsplit(NO_BREAK, 1)
    return f"[{word}]({found.url}){NO_BREAK}{mark}"


def _licence(found: Published) -> str:
    """A licence in a word, with the number of its note."""
    number = _licences().index(found.licence) + 1
    mark = "".join(SUPERSCRIPTS[int(digit)] for digit in str(number))
    return f"{re.split(r' [(]|;', found.licence)[0]}{NO_BREAK}{mark}"


def _licences() -> list[str]:
    """All licences of published weights, in the order in which they are listed."""
    return list(dict.fromkeys(found.licence for found in list_published()))


def licence_notes() -> str:
    """The numbered list of what stands behind the words."""
    return "\n".join(f"{number}. {text}" for number, text in enumerate(_licences(), 1))


def _detection_scores(expected: dict) -> list[str]:
    metrics = expected.get("metrics", {})
    keys = ("coco/bbox_mAP", "coco/segm_mAP")
    return [f"{100 * metrics[key]:.1f}" if key in metrics else "" for key in keys]


def _miou(expected: dict) -> str:
    if not expected:
        return ""
    one, several = expected["metrics"].get("mIoU", ""), expected.get("metrics_tta")
    return f"{one}{f' ({several.mIoU})' if several else ''}".strip()


def files_table() -> str:
    """The table of all published files, which ends docs/checkpoints.md."""
    rows = []
    for found in list_published():
        file = "download page" if found.page else file_name(found.url)
        note = f" ({found.note})" if found.note else ""
        cells = [
            f"`{found.name}`",
            found.task,
            f"{found.results}{note}",
            f"[{file}]({found.url})",
            _licence(found),
        ]
        rows.append(_row(cells))
    return f"{_table(FILES_COLUMNS, rows)}\nLicences of the weights:\n\n{licence_notes()}\n"


def _table(columns: list[str], rows: list[str]) -> str:
    return "\n".join([_row(columns), "|" + " --- |" * len(columns), *rows]) + "\n"


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.exit(guarded(main))
