"""What Mamba YOLO's tensors are called in files of its authors' program.

Its users trained these files; the authors published none. The names there are rows of a yaml file;
a stage of one block has no index for it. While a training runs, a file also holds an average of the
weights, `ema`, which that program prefers.
"""

from mmmamba.checkpoints import Fingerprint, KeyMap

_UNDER = ("ema", "model", "state_dict")
_MARK = r"^(model\.)?\d+\..*A_logs$"
_SQUEEZE = (r".*\.ss2d\.\d+\.(in_proj|out_proj)\.weight",)

# Rows 1, 3, 5 and 7 are the stages, 2, 4 and 6 the steps between them, 0 is the stem, 8 the pools.
# The last two patterns number a convolution and its norm, in neck and head too.
_BACKBONE_NAMES = (
    (r"\.proj_conv\.", ".in_proj."),
    (r"\.op\.", ".ss2d.0."),
    (r"\.(norm2?)\.norm\.", r".\1."),
    (r"^0\.conv\.", "stem."),
    (r"^([1357])\.(\d+)\.", lambda m: f"layers.{int(m[1]) // 2}.blocks.{m[2]}."),
    (r"^([1357])\.(?=[a-z])", lambda m: f"layers.{int(m[1]) // 2}.blocks.0."),
    (r"^([246])\.(?=pw_linear\.)", lambda m: f"layers.{int(m[1]) // 2 - 1}.downsample."),
    (r"^8\.cv([12])\.", r"sppf.conv\1."),
    (r"^(sppf\.conv\d|15|18|21\.cv\d\.\d\.\d)\.conv\.", r"\1.0."),
    (r"^(sppf\.conv\d|15|18|21\.cv\d\.\d\.\d)\.bn\.", r"\1.1."),
)
# Rows 11 and 14 merge maps on the way down, 17 and 20 on the way up, 15 and 18 halve the sides
# before these; 21 is the head, `cv2` for boxes and `cv3` for classes.
_DETECTOR_NAMES = (
    (r"^(stem|layers|sppf)\.", r"backbone.\1."),
    (r"^1([14])\.", lambda m: f"neck.top_down_layers.{(int(m[1]) - 1) // 3}."),
    (r"^1([58])\.", lambda m: f"neck.downsample_layers.{(int(m[1]) - 5) // 3}."),
    (r"^(17|20)\.", lambda m: f"neck.bottom_up_layers.{(int(m[1]) - 17) // 3}."),
    (r"^21\.cv2\.", "bbox_head.reg_preds."),
    (r"^21\.cv3\.", "bbox_head.cls_preds."),
)
_VARIANTS = {
    (1, 1, 3, 1, 32): "mamba_yolo_t",
    (1, 1, 3, 1, 64): "mamba_yolo_b",
    (2, 2, 6, 2, 96): "mamba_yolo_l",
    (1, 2, 2, 1, 32): "mamba_yolo_t_v2",
    (1, 2, 2, 1, 64): "mamba_yolo_b_v2",
    (2, 4, 4, 2, 96): "mamba_yolo_l_v2",
}


def _fingerprint(prefix: str) -> Fingerprint:
    """What tells the variants apart where our names have a prefix, a pattern."""
    return Fingerprint(
        block=prefix + r"layers\.(\d+)\.blocks\.(\d+)\.norm\.weight",
        widths=(prefix + r"stem\.3\.weight",),
        variants=_VARIANTS,
    )


BACKBONE_KEY_MAP = KeyMap(
    under=_UNDER,
    renames=_BACKBONE_NAMES,
    squeeze=_SQUEEZE,
    may_be_missing=(r"classifier\..*",),
    # Neck and head.
    may_be_surplus=(r"(1[1-8]|2[01])\..*", r"classifier\..*"),
    fingerprint=_fingerprint(""),
    mark=_MARK,
)
DETECTOR_KEY_MAP = KeyMap(
    under=_UNDER,
    whole=True,
    renames=_BACKBONE_NAMES + _DETECTOR_NAMES,
    squeeze=_SQUEEZE,
    # The bins' numbers, a constant (`YOLODFLHead.project`).
    may_be_surplus=(r"21\.dfl\.conv\.weight",),
    fingerprint=_fingerprint(r"backbone\."),
    mark=_MARK,
)
