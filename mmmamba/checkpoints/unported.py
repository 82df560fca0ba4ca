"""Families that have no backbone here: how their files are told, and where these files lie.

A family that gets a backbone takes its rows along into the backbone's file, and its mark into its
key map.
"""

from .published_files import Published, Repository

MARKS: tuple[tuple[str, str], ...] = (
    ("SpatialMamba", r"\.state_fusion\."),
    ("MSVMamba", r"\.op\.conv2d_b1\."),
    ("GroupMamba", r"\.mamba_g[1-4]\."),
    ("MambaReg", r"^pos_embed_cls$"),
    ("VimF", r"^patch_embed\.cnn_downsample_layers\."),
    ("MLLA", r"\.attn\.lepe\."),
    ("VSSD", r"\.attn\.to_qkv\."),
    ("Swin Transformer", r"relative_position_bias_table$"),
    ("a ResNet", r"^layer1\.0\.conv1\.weight$"),
    ("a ViT", r"^blocks\.0\.attn\.qkv\.weight$"),
)
"""A family, and a pattern found in the name of a tensor that its files have."""

_msvmamba = Repository(
    source="https://github.com/YuHengsss/MSVMamba",
    licence="none stated",
    files="https://drive.google.com/drive/folders/{}",
).file
_msvmamba_v3 = Repository(
    source="https://github.com/YuHengsss/MSVMamba",
    licence="none stated",
    files="https://huggingface.co/YuhengSSS/MSVMamba/resolve/main/{}",
).file
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
_spatial_mamba = Repository(
    source="https://github.com/EdwardChasel/Spatial-Mamba",
    licence="Apache-2.0 (the repository's)",
    files="https://drive.google.com/file/d/{}/view",
).file
_group_mamba = Repository(
    source="https://github.com/Amshaker/GroupMamba",
    licence="MIT (the repository's)",
    files="https://huggingface.co/Abdelrahman-shaker/{}",
).file
_mamba_reg = Repository(
    source="https://github.com/wangf3014/Mamba-Reg",
    licence="none stated",
    files="https://huggingface.co/Wangf3014/Mamba-Reg/resolve/main/{}",
).file
_vim_f = Repository(
    source="https://github.com/yws-wxs/Vim-F",
    licence="none stated",
    files="https://github.com/yws-wxs/Vim-F/releases/download/{}",
).file

# A row a file, as tables have them: a formatter would give each argument a line of its own.
# fmt: off
UNPORTED: tuple[Published, ...] = (
    _msvmamba("msvmamba_nano", "classification", top1=77.3, page=True,
              at="1J41w3ApitQhp2O3wHmJoOs4U032uqebK"),
    _msvmamba("msvmamba_micro", "classification", top1=79.8, page=True,
              at="1jfl2GmuKcUB8sPwRlyHK_wT0MjqgljYk"),
    _msvmamba("msvmamba_micro", "mask_rcnn_1x", box_ap=43.8, mask_ap=39.9, page=True,
              at="12CrNAGBalU0yoQcQgPTGO5lM397Jc4La"),
    _msvmamba("msvmamba_micro", "mask_rcnn_3x", box_ap=46.3, mask_ap=41.8, page=True,
              at="10-8cDnRfnk_j4QxMHkhUyecucnM_82pt"),
    _msvmamba("msvmamba_micro", "upernet_160k", miou=45.1, miou_ms=45.4, page=True,
              at="1naZHL4mwTchllAE001SsyZ_z4y_JRF0s"),
    _msvmamba("msvmamba_t", "classification", top1=82.8, page=True,
              at="1ddNWk89ohcxxMuVEaJ2Y5A6xeBKgA7lU"),
    _msvmamba("msvmamba_t", "mask_rcnn_1x", box_ap=46.9, mask_ap=42.2, page=True,
              at="1MogQ6PGdrgsyJckJTL9BJzlMCodJ3epu"),
    _msvmamba("msvmamba_t", "mask_rcnn_3x", box_ap=48.3, mask_ap=43.2, page=True,
              at="1dK1qFjaU8GmqvsmMr1mgppNJlNacHPtG"),
    _msvmamba("msvmamba_t", "upernet_160k", miou=47.8, page=True,
              at="1FaFPFExDd_4goIlLjTR7fXsuMRr-vYoY"),
    _msvmamba_v3("msvmamba_v3_t", "classification", top1=83.0, at="msvmambav3_tiny_224.pth"),
    _msvmamba_v3("msvmamba_v3_s", "classification", top1=84.1, at="msvmambav3_small_224.pth"),
    _msvmamba_v3("msvmamba_v3_b", "classification", top1=84.4, at="msvmambav3_base_224.pth"),
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
    _spatial_mamba("spatialmamba_t", "classification", top1=83.5, page=True,
                   at="19kXoqGSTuKKs4AHbdUSrdKZTwTWenLIW"),
    _spatial_mamba("spatialmamba_t", "mask_rcnn_1x", box_ap=47.6, mask_ap=42.9, page=True,
                   at="1lmA0_pBQbvuMkJD1R5m3oS_2jXaSy3N3"),
    _spatial_mamba("spatialmamba_t", "mask_rcnn_3x", box_ap=49.3, mask_ap=43.6, page=True,
                   at="1PY0_8ZCwogssmaULdc6MzVbCTGm_83Ew"),
    _spatial_mamba("spatialmamba_t", "upernet_160k", miou=48.6, miou_ms=49.4, page=True,
                   at="1ngRweMh6vLjfZ43fb_o_ZyHs6psxb6Ix"),
    _spatial_mamba("spatialmamba_s", "classification", top1=84.6, page=True,
                   at="1Wb3sYoWLpgmWrmHMYKwdgDwGPZaqM28O"),
    _spatial_mamba("spatialmamba_s", "mask_rcnn_1x", box_ap=49.2, mask_ap=44.0, page=True,
                   at="1pzjz1A6nWA9W2FW2Ymg5JSAMbvxmc2hP"),
    _spatial_mamba("spatialmamba_s", "mask_rcnn_3x", box_ap=50.5, mask_ap=44.6, page=True,
                   at="19fDAk8cyMplgVRKqU0BC_3l1NxXzHYl_"),
    _spatial_mamba("spatialmamba_s", "upernet_160k", miou=50.6, miou_ms=51.4, page=True,
                   at="1Ve07Um4dIPCcdg0mdNLjGxJtxKNWB_Sy"),
    _spatial_mamba("spatialmamba_b", "classification", top1=85.3, page=True,
                   at="1k8dHp2QRCOqBSgAi36YkhZp_O8LqOPjM"),
    _spatial_mamba("spatialmamba_b", "mask_rcnn_1x", box_ap=50.4, mask_ap=45.1, page=True,
                   at="1oTyT0q88ernqc1_IyqBWHrVJJPGNRN8r"),
    _spatial_mamba("spatialmamba_b", "upernet_160k", miou=51.8, miou_ms=52.6, page=True,
                   at="1DLSC20TiSfzWrdgLRSdgrhnDn79nruB6"),
    _group_mamba("groupmamba_t", "classification", top1=83.3,
                 at="GroupMamba-Tiny/resolve/main/groupmamba_tiny_ema.pth"),
    _group_mamba("groupmamba_s", "classification", top1=83.9, page=True, at="GroupMamba-Small"),
    _group_mamba("groupmamba_b", "classification", top1=84.5, page=True, at="GroupMamba-Base"),
    _mamba_reg("mambareg_s", "classification", top1=81.4, at="mambar_small_patch16_224.pth"),
    _mamba_reg("mambareg_b", "classification", top1=83.0, at="mambar_base_patch16_224.pth"),
    _mamba_reg("mambareg_l", "classification", top1=83.6, at="mambar_large_patch16_224.pth"),
    _vim_f("vimf_t", "classification", top1=76.7, at="v1.0.0.3/v2-ti-f-ckp.pth"),
    _vim_f("vimf_v1_t", "classification", top1=76.0, at="v1.0.0.2/Ti_pre_checkpoint.pth"),
    _vim_f("vimf_v1_s", "classification", top1=80.5, at="v1.0.0.2/S_pre_checkpoint.pth"),
)
# fmt: on
"""Their authors' files, family by family."""
