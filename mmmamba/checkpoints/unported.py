"""Families that have no backbone here: how their files are told, and where these files lie.

A family that gets a backbone takes its rows along into the backbone's file, and its mark into its
key map.
"""

from .published_files import Published, Repository

MARKS: tuple[tuple[str, str], ...] = (
    ("PlainMamba", r"\.mamba\.direction_Bs$"),
    ("MLLA", r"\.attn\.lepe\."),
    ("VSSD", r"\.attn\.to_qkv\."),
    ("Swin Transformer", r"relative_position_bias_table$"),
    ("a ResNet", r"^layer1\.0\.conv1\.weight$"),
    ("a ViT", r"^blocks\.0\.attn\.qkv\.weight$"),
)
"""A family, and a pattern found in the name of a tensor that its files have."""

_vssd = Repository(
    source="https://github.com/YuHengsss/VSSD",
    licence="none stated",
    files="https://huggingface.co/YuhengSSS/VSSD/resolve/main/{}",
).file
_mlla = Repository(
    source="https://github.com/LeapLabTHU/MLLA",
    licence="MIT (the repository's)",
    files="https://cloud.tsinghua.edu.cn/f/{}/?dl=1",
).file
_plain_mamba = Repository(
    source="https://github.com/ChenhongyiYang/PlainMamba",
    licence="Apache-2.0 (the repository's)",
    files="https://huggingface.co/ChenhongyiYang/PlainMamba/resolve/main/{}",
).file

# A row a file, as tables have them: a formatter would give each argument a line of its own.
# fmt: off
UNPORTED: tuple[Published, ...] = (
    _vssd("vssd_micro", "classification", top1=82.5, key="model", at="vssd_micro_best.pth"),
    _vssd("vssd_micro", "mask_rcnn_1x", box_ap=45.4, mask_ap=41.3,
          at="mask_rcnn_vssd_fpn_coco_micro.pth"),
    _vssd("vssd_micro", "mask_rcnn_3x", box_ap=47.7, mask_ap=42.8,
          at="mask_rcnn_vssd_fpn_coco_micro_3x.pth"),
    _vssd("vssd_micro", "upernet_160k", miou=45.6, miou_ms=46.0,
          at="upernet_vssd_final_4xb4-160k_ade20k-512x512_micro.pth"),
    _vssd("vssd_t", "classification", top1=83.6, key="model_ema", at="vssd_tiny_best_ema.pth"),
    _vssd("vssd_t", "classification_mesa", top1=84.1, at="vssd_tiny_e300_with_mesa.pth"),
    _vssd("vssd_t", "mask_rcnn_1x", box_ap=46.9, mask_ap=42.6,
          at="mask_rcnn_vssd_fpn_coco_tiny.pth"),
    _vssd("vssd_t", "mask_rcnn_3x", box_ap=48.8, mask_ap=43.6,
          at="mask_rcnn_vssd_fpn_coco_tiny_3x.pth"),
    _vssd("vssd_t", "upernet_160k", miou=47.9, miou_ms=48.7,
          at="upernet_vssd_4xb4-160k_ade20k-512x512_tiny.pth"),
    _vssd("vssd_s", "classification", top1=84.1, key="model_ema", at="vssd_small_best_ema.pth"),
    _vssd("vssd_s", "classification_mesa", top1=84.5, at="vssd_small_e300_with_mesa.pth"),
    _vssd("vssd_s", "mask_rcnn_1x", box_ap=48.4, mask_ap=43.5,
          note="the authors link this file for 1x and for 3x (50.0, 44.6); "
               "which it is, is not known",
          at="mask_rcnn_vssd_fpn_coco_small.pth"),
    _vssd("vssd_b", "classification", top1=84.7, key="model_ema", at="vssd_base_best_ema.pth"),
    _vssd("vssd_b", "classification_mesa", top1=85.4, at="vssd_base_e300_with_mesa.pth"),
    _mlla("mlla_t", "classification", top1=83.5, at="7a19712877cb4242889c"),
    _mlla("mlla_t", "mask_rcnn_1x", box_ap=46.8, mask_ap=42.1, at="ce362e868fb5491ca55c"),
    _mlla("mlla_t", "mask_rcnn_3x", box_ap=48.8, mask_ap=43.8, at="339d49127565432fb912"),
    _mlla("mlla_s", "classification", top1=84.4, at="0e5d0b1409d540aaa80c"),
    _mlla("mlla_s", "mask_rcnn_1x", box_ap=49.2, mask_ap=44.2, at="3d29bec850e0441a8842"),
    _mlla("mlla_s", "mask_rcnn_3x", box_ap=50.5, mask_ap=44.9, at="b501c886982e4c7f926d"),
    _mlla("mlla_b", "classification", top1=85.3, at="91c85c5a1061496d8796"),
    _mlla("mlla_b", "mask_rcnn_1x", box_ap=50.5, mask_ap=45.0, at="826278b01bed4df2bbc1"),
    _mlla("mlla_b", "upernet_160k", miou=51.9, miou_ms=52.5, at="41760d4a531a4ffc9cbf"),
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
