"""What the tensors of MiM-ISTD are called in its authors' file.

The file was not opened: these are the names of their code, and its wrapper is unknown.
"""

from mmmamba.checkpoints import Fingerprint, KeyMap

_DECODER_NAMES = (
    (r"^deconv([123])\.", r"decode_head.up\1."),
    (r"^uplayer([123])\.(\d+)\.body\.0\.", r"decode_head.blocks\1.\2.conv1."),
    (r"^uplayer([123])\.(\d+)\.body\.1\.", r"decode_head.blocks\1.\2.bn1."),
    (r"^uplayer([123])\.(\d+)\.body\.3\.", r"decode_head.blocks\1.\2.conv2."),
    (r"^uplayer([123])\.(\d+)\.body\.4\.", r"decode_head.blocks\1.\2.bn2."),
    (r"^head\.block\.0\.", "decode_head.last.conv."),
    (r"^head\.block\.1\.", "decode_head.last.bn."),
    (r"^head\.block\.4\.", "decode_head.conv_seg."),
)
_ENCODER_NAMES = (
    # Convolution, norm and activation count one after the other in their stem.
    (r"\bpatch_embed\.common_conv\.0\.", "patch_embed.common.conv."),
    (r"\bpatch_embed\.common_conv\.1\.", "patch_embed.common.norm."),
    (r"\bpatch_embed\.inner_convs\.0\.", "patch_embed.words.conv."),
    (r"\bpatch_embed\.inner_convs\.1\.", "patch_embed.words.norm."),
    (
        r"\bpatch_embed\.outer_convs\.([036])\.",
        lambda m: f"patch_embed.sentences.{int(m[1]) // 3}.conv.",
    ),
    (
        r"\bpatch_embed\.outer_convs\.([147])\.",
        lambda m: f"patch_embed.sentences.{int(m[1]) // 3}.norm.",
    ),
    # The inner part of a stage's first block is a block of its own here.
    (r"\.blocks\.0\.inner_norm1\.", ".words.norm."),
    (r"\.blocks\.0\.inner_norm2\.", ".words.norm2."),
    (r"\.blocks\.0\.inner_attn\.", ".words.op."),
    (r"\.blocks\.0\.inner_mlp\.", ".words.mlp."),
    (r"\.blocks\.0\.proj_norm1\.", ".words.proj_norm."),
    (r"\.blocks\.0\.proj_norm2\.", ".words.out_norm."),
    (r"\.blocks\.0\.proj\.", ".words.proj."),
    (r"\.outer_norm1\.", ".norm."),
    (r"\.outer_norm2\.", ".norm2."),
    (r"\.outer_attn\.", ".op."),
    (r"\.outer_mlp\.", ".mlp."),
    (r"\.mlp\.conv1x1_gelu_bn\.conv3x3_gelu_bn\.", ".mlp.expand."),
    (r"\.mlp\.conv3x3_dw\.conv\.", ".mlp.dwconv."),
    (r"\.mlp\.act\.1\.", ".mlp.norm."),
    (r"\.mlp\.conv1x1_pw\.0\.", ".mlp.project.conv."),
    (r"\.mlp\.conv1x1_pw\.1\.", ".mlp.project.norm."),
    (r"\bword_merges\.(\d+)\.conv\.0\.", r"word_merges.\1.conv."),
    (r"\bup_blocks\.(\d+)\.transposed_conv\.", r"up_blocks.\1.0."),
    (r"\bup_blocks\.(\d+)\.batch_norm1\.", r"up_blocks.\1.1."),
    (r"\bup_blocks\.(\d+)\.conv\.(?=weight|bias)", r"up_blocks.\1.3.conv."),
    (r"\bup_blocks\.(\d+)\.batch_norm2\.", r"up_blocks.\1.3.norm."),
)
_UNDER = ("state_dict", "model", "net")
_MARK = r"(^|\.)mim_backbone\."
# Nothing reads them: position biases, two fifths of the file, and a norm.
_DEAD = (r"stages\.\d+\.relative_pos", r"norm\.(weight|bias)")


def _fingerprint(prefix: str) -> Fingerprint:
    """What tells variants apart where our names have a prefix, a pattern."""
    return Fingerprint(
        block=prefix + r"stages\.(\d+)\.blocks\.(\d+)\.op\.A_logs",
        widths=(
            prefix + r"stages\.0\.blocks\.0\.norm\.weight",
            prefix + r"word_merges\.0\.norm\.weight",
        ),
        variants={(2, 2, 2, 2, 32, 4): "mim_istd"},
    )


BACKBONE_KEY_MAP = KeyMap(
    under=_UNDER,
    renames=((r"^mim_backbone\.", ""), *_ENCODER_NAMES),
    may_be_surplus=(*_DEAD, r"(deconv[123]|uplayer[123]|head)\..*"),
    fingerprint=_fingerprint(""),
    mark=_MARK,
)
SEGMENTOR_KEY_MAP = KeyMap(
    under=_UNDER,
    whole=True,
    renames=((r"^mim_backbone\.", "backbone."), *_DECODER_NAMES, *_ENCODER_NAMES),
    may_be_surplus=tuple(rf"backbone\.{name}" for name in _DEAD),
    fingerprint=_fingerprint(r"backbone\."),
    mark=_MARK,
)
