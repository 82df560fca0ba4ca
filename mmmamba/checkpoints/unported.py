"""Families that have no backbone here: how their files are told, and where these files lie.

A family that gets a backbone takes its rows along into the backbone's file, and its mark into its
key map.
"""

from .published_files import Published, Repository

MARKS: tuple[tuple[str, str], ...] = (
    ("PlainMamba", r"\.mamba\.direction_Bs$"),
    ("Swin Transformer", r"relative_position_bias_table$"),
    ("a ResNet", r"^layer1\.0\.conv1\.weight$"),
    ("a ViT", r"^blocks\.0\.attn\.qkv\.weight$"),
)
"""A family, and a pattern found in the name of a tensor that its files have."""

).file
_plain_mamba = Repository(
    source="https://github.com/ChenhongyiYang/PlainMamba",
    licence="Apache-2.0 (the repository's)",
    files="https://huggingface.co/ChenhongyiYang/PlainMamba/resolve/main/{}",
).file

# A row a file, as tables have them: a formatter would give each argument a line of its own.
# fmt: off
UNPORTED: tuple[Published, ...] = (
    _plain_mamba("plainmamba_l1", "classification", top1=77.9, at="l1.pth"),
    _plain_mamba("plainmamba_l1", "mask_rcnn_1x", box_ap=44.1, mask_ap=39.1,
                 at="detection/maskrcnn/l1_1x.pth"),
    _plain_mamba("plainmamba_l1", "retinanet_1x", box_ap=41.7,
                 at="detection/retinanet/l1_1x.pth"),
    _plain_mamba("plainmamba_l1", "upernet_160k", miou=44.1, at="segmentation/l1_upernet.pth"),
    _plain_mamba("plainmamba_l2", "classification", top1=81.6, at="l2.pth"),
    _plain_mamba("plainmamba_l2", "mask_rcnn_1x", box_ap=46.0, mask_ap=40.6,
                 at="detection/maskrcnn/l2_1x.pth"),
    _plain_mamba("plainmamba_l2", "retinanet_1x", box_ap=43.9,
                 at="detection/retinanet/l2_1x.pth"),
    _plain_mamba("plainmamba_l2", "upernet_160k", miou=46.8, at="segmentation/l2_upernet.pth"),
    _plain_mamba("plainmamba_l3", "classification", top1=82.3, at="l3.pth"),
    _plain_mamba("plainmamba_l3", "mask_rcnn_1x", box_ap=46.8, mask_ap=41.2,
                 at="detection/maskrcnn/l3_1x.pth"),
    _plain_mamba("plainmamba_l3", "retinanet_1x", box_ap=44.8,
                 at="detection/retinanet/l3_1x.pth"),
    _plain_mamba("plainmamba_l3", "upernet_160k", miou=49.1, at="segmentation/l3_upernet.pth"),
)
# fmt: on
"""Their authors' files, family by family."""
