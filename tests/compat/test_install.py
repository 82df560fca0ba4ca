"""What `install` does to a fresh interpreter, in each order of imports."""

import os
import subprocess
import sys
from pathlib import Path

import mmcv
import pytest

from mmmamba.compat import compiled_extension

ROOT = Path(__file__).parents[2]
SWIN = "mmseg::swin/swin-tiny-patch4-window7-in1k-pre_upernet_8xb2-160k_ade20k-512x512.py"
CONFIGS = {
    "mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py": "ResNet",
    SWIN: "SwinTransformer",
}
without_compiler = pytest.mark.skipif(
    compiled_extension() is not None, reason="mmcv has its compiled operators"
)


def run(code: str, cwd: Path, **environment: str) -> str:
    path = os.pathsep.join([environment.pop("first_on_path", ""), str(ROOT)]).strip(os.pathsep)
    env = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", **environment}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@without_compiler
def test_install_is_light_and_idempotent_and_configs_are_found_by_name(tmp_path):
    code = f"""
import sys
from mmmamba.compat.extension import ExtensionFinder, install
install()
install()
assert sum(isinstance(f, ExtensionFinder) for f in sys.meta_path) == 1
assert not {{"mmcv.ops", "mmdet", "mmmamba.commands", "mmmamba.inference"}} & set(sys.modules)
from mmengine.hub import get_config
for name, backbone in {CONFIGS}.items():
    assert get_config(name).model.backbone.type == backbone
import mmcv.ops
from mmcv.utils import collect_env
from mmcv.utils.ext_loader import check_ops_exist
from mmengine.utils.dl_utils import mmcv_full_available
assert check_ops_exist() and mmcv_full_available()
print(collect_env()["MMCV Compiler"])
"""
    assert "mmmamba.compat, torchvision" in run(code, tmp_path)


@without_compiler
def test_placeholders_of_early_imports_are_replaced(tmp_path):
    code = """
import mmdet.apis, mmseg.apis
from mmdet.structures.mask import structures
broken = structures.roi_align
import mmmamba.compat
mmmamba.compat.install()
import mmcv.ops, mmdet.models, mmseg.models
from mmmamba.compat.placeholders import replace_placeholders
assert structures.roi_align is mmcv.ops.roi_align is not broken
assert mmdet.models.dense_heads.clr_head.clr_head.nms is mmcv.ops.line_nms
assert mmdet.models.losses.focal_loss._sigmoid_focal_loss is mmcv.ops.sigmoid_focal_loss
assert mmseg.models.decode_heads.point_head.point_sample is mmcv.ops.point_sample
assert issubclass(mmseg.models.Mask2FormerHead, mmdet.models.Mask2FormerHead)
assert issubclass(mmseg.models.MaskFormerHead, mmdet.models.MaskFormerHead)
assert callable(mmseg.models.decode_heads.san_head.get_uncertain_point_coords_with_randomness)
assert replace_placeholders() == []
print("ok")
"""
    assert run(code, tmp_path).endswith("ok\n")


def test_a_compiled_extension_is_left_alone(tmp_path):
    package = tmp_path / "mmcv"
    package.mkdir()
    # The installed mmcv, with an extension that has every name, as a compiled one does.
    (package / "__init__.py").write_text(f"__path__.append({str(Path(mmcv.__file__).parent)!r})")
    (package / "_ext.py").write_text("def __getattr__(name):\n    return 'compiled'")
    code = """
import sys
from mmmamba.compat import compiled_extension, install
install()
import mmcv._ext
assert mmcv._ext.nms == "compiled"
print(compiled_extension())
"""
    assert run(code, tmp_path, first_on_path=str(tmp_path)).strip() == str(package / "_ext.py")


def test_without_mmcv_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setattr(
        "mmmamba.compat.extension.PathFinder.find_spec", lambda name, path=None: None
    )
    with pytest.raises(ModuleNotFoundError, match="pip install onedl-mmcv"):
        compiled_extension()


@without_compiler
def test_an_operator_that_is_missing_names_itself_and_the_cure():
    import torch
    from mmcv.ops import nms_rotated

    with pytest.raises(
        NotImplementedError, match=r"'nms_rotated'.*--no-binary onedl-mmcv onedl-mmcv=="
    ):
        nms_rotated(torch.ones(2, 5), torch.ones(2), 0.5)


@without_compiler
def test_every_operator_that_mmcv_asks_for_can_be_looked_up():
    import mmcv._ext

    assert callable(mmcv._ext.knn_forward)
    with pytest.raises(NotImplementedError, match="'knn_forward'"):
        mmcv._ext.knn_forward()
    with pytest.raises(AttributeError, match="__wrapped__"):
        mmcv._ext.__wrapped__  # noqa: B018
