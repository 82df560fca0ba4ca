"""What `mmmamba new` composes: every backbone under our heads and under methods of mmdet and mmseg.

    python benchmarks/drop_in/compose.py --backbones 'vim_*' --heads dino mask2former
    python benchmarks/drop_in/compose.py --out benchmarks/drop_in/composed.json

Each pair's model is built, without numbers in it. Exit code 1: one of them fails otherwise than by
a refusal with its reason.
"""

import argparse
import json
import sys
import traceback
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import torch
from mmengine.config import ConfigDict
from mmengine.registry import MODELS, init_default_scope

import mmmamba.detection  # noqa: F401
from mmmamba.commands.new.classes import counted
from mmmamba.commands.new.heads import HEADS, base_config
from mmmamba.errors import UsageError
from mmmamba.models.backbones import list_backbones

MMDET = (
    "faster_rcnn",
    "cascade_rcnn",
    "fcos",
    "atss",
    "gfl",
    "tood",
    "vfnet",
    "paa",
    "reppoints",
    "centernet",
    "detr",
    "deformable_detr",
    "dab_detr",
    "dino",
    "ddq",
    "mask2former",
    "solov2",
    "condinst",
    "queryinst",
    "yolof",
    "sparse_rcnn",
)
MMSEG = (
    "fcn",
    "pspnet",
    "deeplabv3",
    "deeplabv3plus",
    "mmseg::upernet",
    "sem_fpn",
    "segformer",
    "mmseg::mask2former",
    "knet",
    "ocrnet",
    "encnet",
    "isanet",
    "segnext",
)
CLASSES = 3


def compose_and_build(backbone: str, head: str) -> None:
    """Build the model of a pair on the meta device.

    Raises:
        UsageError: the pair is refused.
    """
    base = base_config(backbone, head)
    model = ConfigDict(with_classes(counted(base.config.to_dict()["model"])))
    init_default_scope(base.config.get("default_scope") or "mmdet")
    for node in dicts(model):
        if "init_cfg" in node:
            node["init_cfg"] = None
    with torch.device("meta"):
        MODELS.build(model)


def with_classes(node):
    """A model's dict with numbers in the place of `num_classes`."""
    if isinstance(node, dict):
        return {key: with_classes(value) for key, value in node.items()}
    if isinstance(node, (list, tuple)):
        return type(node)(with_classes(one) for one in node)
    text = getattr(node, "text", None)
    return eval(text, {"num_classes": CLASSES}) if isinstance(text, str) else node


def dicts(node) -> Iterator[dict]:
    """Every dict in a config."""
    if isinstance(node, dict):
        yield node
        node = list(node.values())
    if isinstance(node, (list, tuple)):
        for one in node:
            yield from dicts(one)


def sweep(backbones: list[str], heads: list[str]) -> Iterator[tuple[str, str, str, str]]:
    """Yield `(head, backbone, "accepted" | "refused" | "failed", reason)`."""
    for head in heads:
        for backbone in backbones:
            try:
                compose_and_build(backbone, head)
            except UsageError as error:
                yield head, backbone, "refused", str(error)
            # Whatever else a pair raises is its result.
            except Exception as error:  # noqa: BLE001
                where = traceback.extract_tb(error.__traceback__)[-1]
                reason = f"{type(error).__name__}: {error} ({where.filename}:{where.lineno})"
                yield head, backbone, "failed", reason
            else:
                yield head, backbone, "accepted", ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbones", nargs="+", default=["*"], help="by shell patterns")
    parser.add_argument("--heads", nargs="+", default=[*HEADS, *MMDET, *MMSEG])
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    args = parser.parse_args()
    known = list_backbones()
    names = [name for name in known if any(fnmatch(name, one) for one in args.backbones)]
    found: dict[str, dict[str, dict[str, str]]] = {}
    for head, backbone, result, reason in sweep(names, args.heads):
        found.setdefault(head, {}).setdefault(result, {})[backbone] = reason
        if result != "accepted":
            print(f"{head} {backbone} {result}: {reason}", flush=True)
    count = {key: sum(len(row.get(key, ())) for row in found.values()) for key in KINDS}
    print(", ".join(f"{number} {kind}" for kind, number in count.items()))
    if args.out:
        args.out.write_text(json.dumps(found, indent=1) + "\n")
    sys.exit(bool(count["failed"]))


KINDS = ("accepted", "refused", "failed")

if __name__ == "__main__":
    main()
