"""Models that stand and fall with the backbone they came with, and why."""

from __future__ import annotations

from ...errors import UsageError

BACKBONES = {
    "DetectoRS_ResNet": "DetectoRS feeds the neck's maps back into ResNet's stages",
    "DetectoRS_ResNeXt": "DetectoRS feeds the neck's maps back into ResNet's stages",
    "TridentResNet": "TridentNet is a ResNet whose last stage runs in three branches",
    "HourglassNet": "corner heads read the two stacks of an hourglass, maps of stride 4",
}
"""By the old backbone's type."""
HEADS = {
    "DPTHead": "DPTHead reads the class token of a ViT beside its maps",
    "DDRHead": "DDRHead reads DDRNet's two branches, of which one is there in training alone",
    "PIDHead": "PIDHead reads PIDNet's three branches, of which two are there in training alone",
    "SideAdapterCLIPHead": "SAN is an adapter beside CLIP's image encoder",
    "VPDDepthHead": "VPD's backbone is a diffusion model and its text encoder",
}
"""By a head's type."""
MODELS = {
    "Detectron2Wrapper": "the model is detectron2's, with backbones of its own",
    "MultimodalEncoderDecoder": HEADS["SideAdapterCLIPHead"],
    "DepthEstimator": HEADS["VPDDepthHead"],
}
"""By the model's type."""
FPN_INSTEAD = "Take the FPN config of the same method"
C4 = f"its region heads are ResNet's last stage (C4: roi_head.shared_head). {FPN_INSTEAD}"
DC5 = f"its one map is that of ResNet's last stage, dilated (DC5). {FPN_INSTEAD}"


def refuse_bound(model: dict, part: dict, name: str) -> None:
    """Refuse a model whose backbone cannot change.

    Args:
        model: `cfg.model`.
        part: the dict in it that holds the backbone, often itself.
        name: of the config, for the message.

    Raises:
        UsageError: with the reason.
    """
    reason = _reason(model, part)
    if reason:
        raise UsageError(f"{name} takes no other backbone: {reason}")


def _reason(model: dict, part: dict) -> str | None:
    if model.get("type") in MODELS:
        return MODELS[model["type"]]
    for key in ("decode_head", "bbox_head"):
        heads = part.get(key)
        for head in heads if isinstance(heads, (list, tuple)) else [heads]:
            if isinstance(head, dict) and head.get("type") in HEADS:
                return HEADS[head["type"]]
    backbone = part.get("backbone")
    if not isinstance(backbone, dict):
        return "it has no backbone that a config could name (model.backbone)"
    if backbone.get("type") in BACKBONES:
        return BACKBONES[backbone["type"]]
    roi_head = part.get("roi_head") or {}
    # Asked first: a C4 model has no neck either.
    if roi_head.get("shared_head"):
        return C4
    if roi_head and not part.get("neck"):
        return DC5
    return None
