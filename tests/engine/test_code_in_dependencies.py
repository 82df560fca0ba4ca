"""Every place of OpenMMLab's packages that can run code from a file or a config has been looked at.

A new version with a new such place fails here: see whether a JSON or YAML config can reach it (`RUNS_CODE` in
mmmamba/engine/data_config.py) or a file can (mmmamba/engine/safe_loading.py), and write it down below.
"""

from __future__ import annotations

import ast
import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from mmmamba.engine.data_config import RUNS_CODE

CALLS = {
    "eval",
    "exec",
    "__import__",
    "import_module",
    "from_pretrained",
    "create_model",
    "get_object_from_string",
    "unsafe_load",
}
METHODS = {
    ("pickle", "load"),
    ("pickle", "loads"),
    ("torch", "load"),
    ("np", "load"),
    ("yaml", "load"),
    ("os", "popen"),
    ("os", "system"),
    ("subprocess", "*"),
    ("hub", "*"),
    ("timm", "*"),
    ("dill", "*"),
    ("joblib", "*"),
}
WORTH_PARSING = re.compile(
    r"\b("
    + "|".join(sorted(CALLS))
    + r")\(|"
    + "|".join(f"{a}\\.{b.strip('*')}" for a, b in sorted(METHODS))
)
REVIEWED = {
    "mmcv/cnn/rfsearch/search.py": "RFSearchHook",
    "mmcv/ops/nms.py": "evaluates test_cfg.nms.type: a type, so an identifier",
    "mmcv/utils/env.py": "asks for the compiler's version",
    "mmcv/utils/ext_loader.py": "imports mmcv._ext",
    "mmcv/video/processing.py": "called by no class of a registry",
    "mmdet/datasets/openimages.py": "OpenImagesDataset",
    "mmdet/datasets/transforms/text_transformers.py": "RandomSamplingNegPos",
    "mmdet/evaluation/functional/class_names.py": "evaluates names of a table of its own",
    "mmdet/evaluation/metrics/base_video_metric.py": "reads what processes of the run wrote",
    "mmdet/models/dense_heads/atss_vlfusion_head.py": "ATSSVLFusionHead",
    "mmdet/models/language_models/bert.py": "BertModel",
    "mmdet/models/task_modules/tracking/camera_motion_compensation.py": "CameraMotionCompensation",
    "mmdet/utils/dist_utils.py": "refuse_pickled_messages",
    "mmdet/utils/misc.py": "downloads the images that inference is asked for",
    "mmengine/config/config.py": "Python configs",
    "mmengine/config/lazy.py": "Python configs",
    "mmengine/dataset/base_dataset.py": "reads what it pickled itself",
    "mmengine/dist/dist.py": "reads what processes of the run sent",
    "mmengine/dist/utils.py": "asks Slurm for the first node",
    "mmengine/fileio/handlers/pickle_handler.py": "NoPickles",
    "mmengine/fileio/handlers/yaml_handler.py": "PlainYaml",
    "mmengine/hub/hub.py": "get_config, of mmdet and mmseg",
    "mmengine/infer/infer.py": "imports mmdet or mmseg; takes a config out of a checkpoint only where none is given",
    "mmengine/registry/registry.py": "get_object_from_string is closed, scopes are checked",
    "mmengine/runner/checkpoint.py": "read_weights_only",
    "mmengine/utils/dl_utils/collect_env.py": "asks for the compiler's version",
    "mmengine/utils/dl_utils/hub.py": "load_from_http",
    "mmengine/utils/misc.py": "custom_imports",
    "mmengine/utils/package_utils.py": "pip, which nothing of a run calls",
    "mmengine/utils/version_utils.py": "asks git for the commit",
    "mmengine/visualization/vis_backend.py": "a fixed command of dvc",
    "mmseg/evaluation/metrics/citys_metric.py": "plain arrays: pickles are off unless asked for",
    "mmseg/models/losses/utils.py": "plain arrays; NoPickles",
    "mmseg/datasets/transforms/loading.py": "LoadBiomedical…; others read plain arrays",
    "mmseg/models/backbones/timm_backbone.py": "TIMMBackbone",
    "mmseg/utils/class_names.py": "evaluates names of a table of its own",
    "mmseg/utils/io.py": "LoadBiomedical…",
    "mmseg/utils/tokenizer.py": "built by no registry",
}


def risky(tree: ast.AST) -> set[str]:
    """Calls in a file that could run what their argument says."""
    found = set()
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        if isinstance(node.func, ast.Name) and node.func.id in CALLS:
            found.add(node.func.id)
        elif isinstance(node.func, ast.Attribute):
            owner = getattr(node.func.value, "id", None) or getattr(node.func.value, "attr", "")
            # `model.eval()` takes nothing.
            if (
                node.func.attr in CALLS - {"eval"}
                or {(owner, node.func.attr), (owner, "*")} & METHODS
            ):
                found.add(f"{owner}.{node.func.attr}")
    return found


@pytest.mark.parametrize("package", ["mmengine", "mmcv", "mmdet", "mmseg"])
def test_every_call_that_can_run_code_was_looked_at(package: str) -> None:
    root = Path(find_spec(package).origin).parent
    for file in sorted(root.rglob("*.py")):
        name = file.relative_to(root.parent).as_posix()
        if "/.mim/" in name or "/testing/" in name:
            continue
        text = file.read_text(encoding="utf-8")
        calls = risky(ast.parse(text)) if WORTH_PARSING.search(text) else set()
        assert not calls or name in REVIEWED, (
            f"{name} calls {', '.join(sorted(calls))}: see the head of this test"
        )


def test_the_classes_that_are_refused_exist() -> None:
    import mmcv.cnn.rfsearch  # noqa: F401
    import mmdet.registry
    import mmseg.registry
    from mmdet.utils import register_all_modules as register_mmdet
    from mmengine.registry import Registry
    from mmseg.utils import register_all_modules as register_mmseg

    register_mmdet(init_default_scope=False)
    register_mmseg(init_default_scope=False)
    known: set[str] = set()
    for package in (mmdet.registry, mmseg.registry):
        for found in vars(package).values():
            while isinstance(found, Registry):
                known |= set(found.module_dict)
                found = found.parent
    assert set(RUNS_CODE) <= known
