"""How each family's published files are laid out, and how their names become ours: data, one entry per family.

A family is named as its backbone class. To add one, add a `KeyMap` to `KEY_MAPS`; patterns are regular expressions
that must match the whole name. `fact sheet` below means shared/reference/<family>.md.
"""

import re

from torch import nn

from ..suggest import did_you_mean
from .errors import CheckpointError
from .grids import token_positions
from .key_map import Fingerprint, KeyMap

OUTPUT_NORMS = r"outnorm\d+\.(weight|bias)"

# Of plain columns: our names of the parts around the blocks, and what only their classifiers have.
PLAIN_TOKENS = ((r"^(pos_embed|cls_token)$", r"tokens.\1"),)
PLAIN_CLASSIFIER = (r"norm_f\.(weight|bias)", r"head\.(weight|bias)", r"rope\.freqs_(cos|sin)")

# Fact sheet (mamba_yolo) "Layers" and "Checkpoints": names are the rows of their yaml, here without `model.`. A stage
# of one block has no index for it. A whole detector's names are ours with `backbone.` and so on in front.
YOLO_BLOCKS = (
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
YOLO_DETECTOR = (
    (r"^(stem|layers|sppf)\.", r"backbone.\1."),
    (r"^1([14])\.", lambda m: f"neck.top_down_layers.{(int(m[1]) - 1) // 3}."),
    (r"^1([58])\.", lambda m: f"neck.downsample_layers.{(int(m[1]) - 5) // 3}."),
    (r"^(17|20)\.", lambda m: f"neck.bottom_up_layers.{(int(m[1]) - 17) // 3}."),
    (r"^21\.cv2\.", "bbox_head.reg_preds."),
    (r"^21\.cv3\.", "bbox_head.cls_preds."),
)
YOLO_SQUEEZE = (r".*\.ss2d\.\d+\.(in_proj|out_proj)\.weight",)
YOLO_VARIANTS = {
    (*depths, width): f"mamba_yolo_{scale}{generation}"
    for generation, small, large in (
        ("", (1, 1, 3, 1), (2, 2, 6, 2)),
        ("_v2", (1, 2, 2, 1), (2, 4, 4, 2)),
    )
    for scale, width, depths in (("t", 32, small), ("b", 64, small), ("l", 96, large))
}


def _yolo_fingerprint(prefix: str) -> Fingerprint:
    return Fingerprint(
        block=prefix + r"layers\.(\d+)\.blocks\.(\d+)\.norm\.weight",
        widths=(prefix + r"stem\.3\.weight",),
        variants=YOLO_VARIANTS,
    )


KEY_MAPS: dict[str, KeyMap] = {
    # Fact sheet section 3. Early files (v0 above all) have other names; for a while the MLP was a real 1x1 convolution.
    "VMamba": KeyMap(
        renames=(
            (r"^patch_embed\.proj\.", "patch_embed.0."),
            (r"^patch_embed\.norm\.", "patch_embed.2."),
            (r"(\.blocks\.\d+)\.ln_1\.", r"\1.norm."),
            (r"(\.blocks\.\d+)\.self_attention\.", r"\1.op."),
            (r"^(norm|head)\.", r"classifier.\1."),
        ),
        squeeze=(r".*\.op\.(in_proj|out_proj)\.weight", r".*\.mlp\.(fc1|fc2)\.weight"),
        may_be_missing=(OUTPUT_NORMS,),
        may_be_surplus=(OUTPUT_NORMS, r"classifier\.(norm|head)\.(weight|bias)"),
        fingerprint=Fingerprint(
            block=r"layers\.(\d+)\.blocks\.(\d+)\.op\.A_logs",
            widths=(
                r"layers\.0\.blocks\.0\.norm\.weight",
                r"layers\.0\.blocks\.0\.op\.out_norm\.weight",
            ),
            variants={
                (2, 2, 8, 2, 96, 96): "vmamba_t",
                (2, 2, 5, 2, 96, 192): "vmamba_t_s2l5",
                (2, 2, 15, 2, 96, 192): "vmamba_s",
                (2, 2, 15, 2, 128, 256): "vmamba_b",
                (2, 2, 20, 2, 96, 96): "vmamba_s_s1l20",
                (2, 2, 20, 2, 128, 128): "vmamba_b_s1l20",
                (2, 2, 9, 2, 96, 192): "vmamba_v0_t",
                (2, 2, 27, 2, 96, 192): "vmamba_v0_s",
                (2, 2, 27, 2, 128, 256): "vmamba_v0_b",
            },
        ),
    ),
    # Fact sheet section 7.
    "LocalVMamba": KeyMap(
        under=("state_dict", "model"),
        may_be_missing=(OUTPUT_NORMS,),
        may_be_surplus=(OUTPUT_NORMS, r"classifier\.(norm|head)\.(weight|bias)"),
        fingerprint=Fingerprint(
            block=r"layers\.(\d+)\.blocks\.(\d+)\.op\.A_logs",
            widths=(r"layers\.0\.blocks\.0\.norm\.weight",),
            variants={(2, 2, 9, 2, 96): "localvmamba_t", (2, 2, 27, 2, 96): "localvmamba_s"},
        ),
    ),
    # Fact sheet "Checkpoints". The 21K variants have the shapes of their 1K twins; only their windows differ.
    "MambaVision": KeyMap(
        under=("state_dict", "model"),
        may_be_missing=(OUTPUT_NORMS,),
        may_be_surplus=(
            OUTPUT_NORMS,
            r"norm\.(weight|bias|running_mean|running_var|num_batches_tracked)",
            r"head\.(weight|bias)",
        ),
        fingerprint=Fingerprint(
            block=r"levels\.(\d+)\.blocks\.(\d+)\.norm1\.weight",
            widths=(r"patch_embed\.conv_down\.3\.weight",),
            variants={
                (1, 3, 8, 4, 80): "mambavision_t",
                (1, 3, 11, 4, 80): "mambavision_t2",
                (3, 3, 7, 5, 96): "mambavision_s",
                (3, 3, 10, 5, 128): "mambavision_b or mambavision_b_21k",
                (3, 3, 10, 5, 196): "mambavision_l or mambavision_l_21k",
                (3, 3, 12, 5, 196): "mambavision_l2 or mambavision_l2_512_21k",
                (3, 3, 20, 10, 256): "mambavision_l3_256_21k or mambavision_l3_512_21k",
            },
        ),
    ),
    # Fact sheet "Names in a checkpoint". In stages 2 and 3 index 0 and the one after the last block are permutations.
    "EfficientVMamba": KeyMap(
        under=("state_dict", "model"),
        renames=(
            (r"^patch_embed\.proj\.", "patch_embed.0."),
            (r"^patch_embed\.norm\.", "patch_embed.2."),
            (r"(\.blocks\.\d+)\.ln_1\.", r"\1.norm."),
            (r"(\.blocks\.\d+)\.self_attention\.", r"\1.op."),
            (r"^(norm|head)\.", r"classifier.\1."),
            (r"^layers\.(\d)\.\d+\.(norm|reduction)\.", r"layers.\1.downsample.\2."),
            (
                r"^layers\.(\d)\.(\d+)\.(conv_pw|conv_dw|se)",
                lambda m: f"layers.{m[1]}.blocks.{int(m[2]) - 1}.{m[3]}",
            ),
            (r"\.se\.conv_reduce\.", ".se.fc1."),
            (r"\.se\.conv_expand\.", ".se.fc2."),
        ),
        may_be_missing=(OUTPUT_NORMS,),
        may_be_surplus=(OUTPUT_NORMS, r"classifier\.(norm|head)\.(weight|bias)"),
        fingerprint=Fingerprint(
            block=r"layers\.(\d+)\.blocks\.(\d+)\.(?:norm|conv_pw\.0)\.weight",
            widths=(r"layers\.0\.blocks\.0\.norm\.weight",),
            variants={
                (2, 2, 4, 2, 48): "efficientvmamba_t",
                (2, 2, 4, 2, 64): "efficientvmamba_s",
                (2, 2, 9, 2, 96): "efficientvmamba_b",
            },
        ),
    ),
    # Fact sheet "Names in a checkpoint". Modules 0 to 2 of the later stages are the transition from the stage before.
    "MobileMamba": KeyMap(
        under=("net_E", "net", "state_dict", "model"),
        renames=(
            (r"^blocks([23])\.([012])\.", lambda m: f"layers.{int(m[1]) - 2}.downsample.{m[2]}."),
            (r"^blocks1\.", "layers.0.blocks."),
            (
                r"^blocks([23])\.(\d+)\.",
                lambda m: f"layers.{int(m[1]) - 1}.blocks.{int(m[2]) - 3}.",
            ),
            (r"\.mixer\.m\.attn\.", ".mixer.m."),
            (r"\.local_op\.dwconv3x3\.", ".local_op.0.c."),
            (r"\.local_op\.bn1\.", ".local_op.0.bn."),
            (r"\.local_op\.dwconv1x1\.", ".local_op.2.c."),
            (r"\.local_op\.bn2\.", ".local_op.2.bn."),
            (r"\.base_scale\.weight$", ".base_scale"),
            (r"\.wavelet_scale\.0\.weight$", ".wavelet_scale"),
            (r"\.wavelet_convs\.0\.", ".wavelet_conv."),
        ),
        may_be_surplus=(r"head\.(bn|l)\..*",),
        fingerprint=Fingerprint(
            block=r"layers\.(\d)\.blocks\.(\d+)\.dw0\.m\.c\.weight",
            widths=(r"patch_embed\.6\.c\.weight",),
            variants={
                (1, 2, 2, 144): "mobilemamba_t2",
                (1, 2, 2, 176): "mobilemamba_t4",
                (1, 2, 2, 192): "mobilemamba_s6",
                (2, 3, 2, 200): "mobilemamba_b1, mobilemamba_b2 or mobilemamba_b4",
            },
        ),
    ),
    # Fact sheet sections 3 and 9. Rotary tables are constants, made anew here.
    "Vim": KeyMap(
        renames=PLAIN_TOKENS,
        resize=((r"tokens\.pos_embed", token_positions),),
        may_be_missing=(r"fpn\d\..*",),
        may_be_surplus=PLAIN_CLASSIFIER,
        fingerprint=Fingerprint(
            block=r"layers\.(\d+)\.mixer\.A_log",
            widths=(r"layers\.0\.norm\.weight",),
            variants={(24, 192): "vim_t", (24, 384): "vim_s", (24, 768): "vim_b"},
        ),
    ),
    # Fact sheet (localmamba) sections 5 and 7. The authors' dense configs load RMSNorm's scales into LayerNorms.
    "LocalVim": KeyMap(
        under=("state_dict", "model"),
        renames=PLAIN_TOKENS,
        resize=((r"tokens\.pos_embed", token_positions),),
        may_be_missing=(r"outnorm_\d\.(weight|bias)", r"layers\.\d+\.norm\.bias", r"fpn\d\..*"),
        may_be_surplus=(r"outnorm_\d\.(weight|bias)", *PLAIN_CLASSIFIER),
        fingerprint=Fingerprint(
            block=r"layers\.(\d+)\.mixer\.A_log_0",
            widths=(r"layers\.0\.norm\.weight",),
            variants={(20, 192): "localvim_t", (20, 384): "localvim_s"},
        ),
    ),
    # Files that users trained with the authors' program; none is published. `ema` is there while training runs.
    "MambaYOLOBackbone": KeyMap(
        under=("ema", "model", "state_dict"),
        renames=YOLO_BLOCKS,
        squeeze=YOLO_SQUEEZE,
        may_be_missing=(r"classifier\..*",),
        may_be_surplus=(r"(1[1-8]|2[01])\..*", r"classifier\..*"),
        fingerprint=_yolo_fingerprint(""),
    ),
    "MambaYOLO": KeyMap(
        under=("ema", "model", "state_dict"),
        whole=True,
        renames=YOLO_BLOCKS + YOLO_DETECTOR,
        squeeze=YOLO_SQUEEZE,
        may_be_surplus=(r"21\.dfl\.conv\.weight",),
        fingerprint=_yolo_fingerprint(r"backbone\."),
    ),
}

# A tensor that this family's files have, the more particular families first. Tells a user whose file it is.
MARKS: tuple[tuple[str, str], ...] = (
    ("SpatialMamba", r"\.state_fusion\."),
    ("LocalVMamba", r"\.op\.multi_scan\."),
    ("MSVMamba", r"\.op\.conv2d_b1\."),
    ("EfficientVMamba", r"\.conv_branch\.\d"),
    ("MobileMamba", r"\.global_op\.(wt_filter|global_atten\.)"),
    ("GroupMamba", r"\.mamba_g[1-4]\."),
    ("MambaYOLO", r"^(model\.)?\d+\..*A_logs$"),
    ("VMamba", r"\.blocks\.\d+\.(op|self_attention)\.dt_projs_weight$"),
    ("MambaVision", r"^patch_embed\.conv_down\."),
    ("LocalVim", r"\.mixer\.A_log_\d$"),
    ("MambaReg", r"^pos_embed_cls$"),
    ("VimF", r"^patch_embed\.cnn_downsample_layers\."),
    ("Vim", r"\.mixer\.A_b_log$"),
    ("PlainMamba", r"\.mamba\.direction_Bs$"),
    ("MLLA", r"\.attn\.lepe\."),
    ("VSSD", r"\.attn\.to_qkv\."),
    ("Swin Transformer", r"relative_position_bias_table$"),
    ("a ResNet", r"^layer1\.0\.conv1\.weight$"),
    ("a ViT", r"^blocks\.0\.attn\.qkv\.weight$"),
)


def key_map_of(module: nn.Module, family: str | KeyMap | None = None) -> tuple[str, KeyMap]:
    """The family's name and key map: the one given, else that of the module's class or the nearest base class.

    Raises:
        CheckpointError: no family of that name, or none for this class.
    """
    if isinstance(family, KeyMap):
        return type(module).__name__, family
    if family is None:
        for base in type(module).__mro__:
            if base.__name__ in KEY_MAPS:
                return base.__name__, KEY_MAPS[base.__name__]
        raise CheckpointError(
            f"no key map for {type(module).__name__}: give family=, one of {', '.join(KEY_MAPS)}, or a KeyMap."
        )
    if family not in KEY_MAPS:
        raise CheckpointError(
            f"there is no family '{family}'; there are {', '.join(KEY_MAPS)}."
            + did_you_mean(family, KEY_MAPS)
        )
    return family, KEY_MAPS[family]


def looks_like(names: list[str]) -> str | None:
    """The family whose mark is among the names of a state dict; None if it is none that we know."""
    for family, mark in MARKS:
        if any(re.search(mark, name) for name in names):
            return family
    return None
