"""From the names in SUM's files, and in VMamba's, to those of the network here."""

from __future__ import annotations

import re

from mmmamba.checkpoints import Fingerprint, KeyMap

PREFIX = "salu_mamba"
"""The authors' class keeps its network under this name."""
STAGES = 4


def _renames(parts: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    return tuple((rf"^{PREFIX}\.{theirs}", ours) for theirs, ours in parts)


SUM_KEY_MAP = KeyMap(
    whole=True,
    renames=(
        *_renames(
            (
                (r"patch_embed\.proj\.", "backbone.patch_embed.0."),
                (r"patch_embed\.norm\.", "backbone.patch_embed.2."),
                (r"layers\.", "backbone.layers."),
                (r"(layers_up|final_up|final_conv)\.", r"decode_head.\1."),
            )
        ),
        (r"(\.blocks\.\d+)\.ln_1\.", r"\1.norm."),
        (r"(\.blocks\.\d+)\.self_attention\.", r"\1.op."),
    ),
    fingerprint=Fingerprint(
        block=r"(?:backbone|decode_head)\.(?:layers|layers_up)\.(\d+)\.blocks\.(\d+)\.op\.A_logs",
        widths=(r"backbone\.patch_embed\.2\.weight",),
        variants={(2, 2, 27, 2, 96): "sum"},
    ),
    mark=rf"^{PREFIX}\.",
)
"""For the authors' files of the whole network."""


def _mirrored(found: re.Match) -> str:
    """A stage's place counted from the other end."""
    return f"layers_up.{STAGES - 1 - int(found[1])}."


MIRRORED_KEY_MAP = KeyMap(
    renames=(
        # What is the decoder's own keeps its name.
        (r"^layers\.(\d+)\.", _mirrored),
        (r"(\.blocks\.\d+)\.ln_1\.", r"\1.norm."),
        (r"(\.blocks\.\d+)\.self_attention\.", r"\1.op."),
    ),
    squeeze=(r".*\.op\.(in_proj|out_proj)\.weight",),
    may_be_missing=(
        r"layers_up\.\d+\.blocks\.\d+\.(condition|mlp\..*)",
        r"layers_up\.\d+\.upsample\..*",
        r"final_(up|conv)\..*",
    ),
    # Of stages that are deeper than the decoder's layers, the blocks that follow.
    may_be_surplus=(
        r"layers_up\.\d+\.blocks\.\d+\..*",
        r"layers_up\.\d+\.downsample\..*",
        r"(patch_embed|norm|head|classifier|outnorm\d+)\..*",
    ),
)
"""For ImageNet files of VMamba in the decoder."""
