"""The published files of each family, from the fact sheets. None was downloaded: sizes and digests are unknown."""

from typing import Any

from .published import Published


def _cls(top1: float) -> dict[str, float]:
    return {"top1": top1}


def _det(box_ap: float, mask_ap: float) -> dict[str, float]:
    return {"box_ap": box_ap, "mask_ap": mask_ap}


def _seg(miou: float, miou_ms: float | None = None) -> dict[str, float]:
    return {"miou": miou} if miou_ms is None else {"miou": miou, "miou_ms": miou_ms}


Row = (
    tuple[str, str, str, dict[str, float]] | tuple[str, str, str, dict[str, float], dict[str, Any]]
)


def _family(base: str, licence: str, source: str, rows: list[Row]) -> list[Published]:
    """Rows are (name, task, file below `base`, results, further fields)."""
    return [
        Published(name, task, _join(base, file), licence, expected, source, **dict(*more))
        for name, task, file, expected, *more in rows
    ]


def _join(base: str, file: str) -> str:
    return base.format(file) if "{}" in base else base + file


CLS, M1, M3, SEG = "classification", "mask_rcnn_1x", "mask_rcnn_3x", "upernet_160k"
CASCADE = "cascade_mask_rcnn_3x"
HF = "https://huggingface.co/"
NVIDIA = "CC-BY-NC-SA-4.0 (README); NVIDIA nvclv1, non-commercial (model cards)"


def _nvidia(model: str, file: str) -> str:
    return f"{model}/resolve/main/{file}"


def _nvidia_dense(file: str) -> str:
    return f"{file}/resolve/main/{file}.pth"


VMAMBA = _family(
    "https://github.com/MzeroMiko/VMamba/releases/download/%23",
    "MIT (the repository's; none is stated for the weights)",
    "https://github.com/MzeroMiko/VMamba",
    [
        ("vmamba_t", CLS, "v2cls/vssm1_tiny_0230s_ckpt_epoch_264.pth", _cls(82.6)),
        ("vmamba_t", M1, "v2det/mask_rcnn_vssm_fpn_coco_tiny_s_epoch_12.pth", _det(47.3, 42.7)),
        (
            "vmamba_t",
            M3,
            "v2det/mask_rcnn_vssm_fpn_coco_tiny_ms_3x_s_epoch_31.pth",
            _det(48.8, 43.7),
        ),
        (
            "vmamba_t",
            SEG,
            "v2seg/upernet_vssm_4xb4-160k_ade20k-512x512_tiny_s_iter_160000.pth",
            _seg(47.9, 48.8),
        ),
        ("vmamba_t_s2l5", CLS, "v2cls/vssm_tiny_0230_ckpt_epoch_262.pth", _cls(82.5)),
        ("vmamba_t_s2l5", M1, "v2det/mask_rcnn_vssm_fpn_coco_tiny_epoch_12.pth", _det(47.4, 42.7)),
        (
            "vmamba_t_s2l5",
            M3,
            "v2det/mask_rcnn_vssm_fpn_coco_tiny_ms_3x_epoch_36.pth",
            _det(48.9, 43.7),
        ),
        (
            "vmamba_t_s2l5",
            SEG,
            "v2seg/upernet_vssm_4xb4-160k_ade20k-512x512_tiny_iter_160000.pth",
            _seg(48.3, 48.6),
        ),
        ("vmamba_s", CLS, "v2cls/vssm_small_0229_ckpt_epoch_222.pth", _cls(83.6)),
        ("vmamba_s", M1, "v2det/mask_rcnn_vssm_fpn_coco_small_epoch_11.pth", _det(48.7, 43.7)),
        (
            "vmamba_s",
            M3,
            "v2det/mask_rcnn_vssm_fpn_coco_small_ms_3x_epoch_32.pth",
            _det(49.9, 44.2),
        ),
        (
            "vmamba_s",
            SEG,
            "v2seg/upernet_vssm_4xb4-160k_ade20k-512x512_small_iter_144000.pth",
            _seg(50.6, 51.2),
        ),
        ("vmamba_b", CLS, "v2cls/vssm_base_0229_ckpt_epoch_237.pth", _cls(83.9)),
        ("vmamba_b", M1, "v2det/mask_rcnn_vssm_fpn_coco_base_epoch_11.pth", _det(49.2, 44.1)),
        (
            "vmamba_b",
            "mask_rcnn_1x_bs8",
            "v2det/mask_rcnn_vssm_fpn_coco_base_epoch_12_bs8.pth",
            _det(49.2, 43.9),
        ),
        (
            "vmamba_b",
            SEG,
            "v2seg/upernet_vssm_4xb4-160k_ade20k-512x512_base_iter_160000.pth",
            _seg(51.0, 51.6),
        ),
        ("vmamba_s_s1l20", CLS, "v2cls/vssm1_small_0229s_ckpt_epoch_240.pth", _cls(83.3)),
        ("vmamba_b_s1l20", CLS, "v2cls/vssm1_base_0229s_ckpt_epoch_225.pth", _cls(83.8)),
        ("vmamba_v0_t", CLS, "v0cls/vssmtiny_dp01_ckpt_epoch_292.pth", _cls(82.2)),
        (
            "vmamba_v0_t",
            M1,
            "v0det/vssmtiny_mask_rcnn_swin_fpn_coco_epoch_12.pth",
            _det(46.5, 42.1),
        ),
        (
            "vmamba_v0_t",
            M3,
            "v0det/vssmtiny_mask_rcnn_swin_fpn_coco_ms_3x_epoch_34.pth",
            _det(48.5, 43.2),
        ),
        (
            "vmamba_v0_t",
            SEG,
            "v0seg/vssmtiny_upernet_4xb4-160k_ade20k-512x512_iter_160000.pth",
            _seg(47.3, 48.3),
        ),
        ("vmamba_v0_s", CLS, "v0cls/vssmsmall_dp03_ckpt_epoch_238.pth", _cls(83.5)),
        (
            "vmamba_v0_s",
            M1,
            "v0det/vssmsmall_mask_rcnn_swin_fpn_coco_epoch_12.pth",
            _det(48.2, 43.0),
        ),
        (
            "vmamba_v0_s",
            M3,
            "v0det/vssmsmall_mask_rcnn_swin_fpn_coco_ms_3x_epoch_34.pth",
            _det(49.7, 44.0),
        ),
        (
            "vmamba_v0_s",
            SEG,
            "v0seg/vssmsmall_upernet_4xb4-160k_ade20k-512x512_iter_160000.pth",
            _seg(49.5, 50.5),
        ),
        ("vmamba_v0_b", CLS, "v0cls/vssmbase_dp06_ckpt_epoch_241.pth", _cls(83.7)),
        (
            "vmamba_v0_b",
            M1,
            "v0det/vssmbase_mask_rcnn_swin_fpn_coco_epoch_12.pth",
            _det(48.6, 43.3),
        ),
        (
            "vmamba_v0_b",
            SEG,
            "v0seg/vssmbase_upernet_4xb4-160k_ade20k-512x512_iter_128000.pth",
            _seg(50.0, 51.3),
        ),
    ],
)

MAMBAVISION = _family(
    HF + "nvidia/",
    NVIDIA,
    "https://github.com/NVlabs/MambaVision",
    [
        (
            "mambavision_t",
            CLS,
            _nvidia("MambaVision-T-1K", "mambavision_tiny_1k.pth.tar"),
            _cls(82.3),
        ),
        (
            "mambavision_t",
            CASCADE,
            _nvidia_dense("cascade_mask_rcnn_mamba_vision_tiny_3x_coco"),
            _det(51.1, 44.3),
        ),
        ("mambavision_t", SEG, _nvidia_dense("mamba_vision_160k_ade20k-512x512_tiny"), _seg(46.0)),
        (
            "mambavision_t2",
            CLS,
            _nvidia("MambaVision-T2-1K", "mambavision_tiny2_1k.pth.tar"),
            _cls(82.7),
        ),
        (
            "mambavision_s",
            CLS,
            _nvidia("MambaVision-S-1K", "mambavision_small_1k.pth.tar"),
            _cls(83.3),
        ),
        (
            "mambavision_s",
            CASCADE,
            _nvidia_dense("cascade_mask_rcnn_mamba_vision_small_3x_coco"),
            _det(52.3, 45.2),
        ),
        ("mambavision_s", SEG, _nvidia_dense("mamba_vision_160k_ade20k-512x512_small"), _seg(48.2)),
        (
            "mambavision_b",
            CLS,
            _nvidia("MambaVision-B-1K", "mambavision_base_1k.pth.tar"),
            _cls(84.2),
        ),
        (
            "mambavision_b",
            CASCADE,
            _nvidia_dense("cascade_mask_rcnn_mamba_vision_base_3x_coco"),
            _det(52.8, 45.7),
        ),
        ("mambavision_b", SEG, _nvidia_dense("mamba_vision_160k_ade20k-512x512_base"), _seg(49.1)),
        (
            "mambavision_l",
            CLS,
            _nvidia("MambaVision-L-1K", "mambavision_large_1k.pth.tar"),
            _cls(85.0),
        ),
        (
            "mambavision_l2",
            CLS,
            _nvidia("MambaVision-L2-1K", "mambavision_large2_1k.pth.tar"),
            _cls(85.3),
        ),
        (
            "mambavision_b_21k",
            CLS,
            _nvidia("MambaVision-B-21K", "mambavision_base_21k.pth.tar"),
            _cls(84.9),
        ),
        (
            "mambavision_l_21k",
            CLS,
            _nvidia("MambaVision-L-21K", "mambavision_large_21k.pth.tar"),
            _cls(86.1),
        ),
        (
            "mambavision_l2_512_21k",
            CLS,
            _nvidia("MambaVision-L2-512-21K", "mambavision_L2_21k_240m_512.pth.tar"),
            _cls(87.3),
        ),
        (
            "mambavision_l3_256_21k",
            CLS,
            _nvidia("MambaVision-L3-256-21K", "mambavision_L3_21k_740m_256.pth.tar"),
            _cls(87.3),
        ),
        (
            "mambavision_l3_512_21k",
            CLS,
            _nvidia("MambaVision-L3-512-21K", "mambavision_L3_21k_740m_512.pth.tar"),
            _cls(88.1),
        ),
        (
            "mambavision_l3_512_21k",
            SEG,
            _nvidia_dense("mamba_vision_160k_ade20k-640x640_l3_21k"),
            _seg(53.2),
        ),
    ],
)

LOCALMAMBA = _family(
    "https://github.com/hunto/LocalMamba/releases/download/v1.0.0/",
    "Apache-2.0 (the repository's)",
    "https://github.com/hunto/LocalMamba",
    [
        ("localvmamba_s", CLS, "local_vssm_small.ckpt", _cls(83.7)),
        ("localvim_t", CLS, "local_vim_tiny.ckpt", _cls(76.2)),
        ("localvim_t_midcls", CLS, "local_vim_tiny_middle_cls_token.ckpt", _cls(77.8)),
    ],
)

VIM = _family(
    HF + "hustvl/",
    "Apache-2.0 (the repository's)",
    "https://github.com/hustvl/Vim",
    [
        ("vim_t", CLS, "Vim-tiny-midclstok/resolve/main/vim_t_midclstok_76p1acc.pth", _cls(76.1)),
        (
            "vim_t_stride8",
            CLS,
            "Vim-tiny-midclstok/resolve/main/vim_t_midclstok_ft_78p3acc.pth",
            _cls(78.3),
        ),
        ("vim_s", CLS, "Vim-small-midclstok/resolve/main/vim_s_midclstok_80p5acc.pth", _cls(80.5)),
        (
            "vim_s_stride8",
            CLS,
            "Vim-small-midclstok/resolve/main/vim_s_midclstok_ft_81p6acc.pth",
            _cls(81.6),
        ),
        (
            "vim_b",
            CLS,
            "Vim-base-midclstok/resolve/main/vim_b_midclstok_81p9acc.pth",
            _cls(81.9),
            {"key": "model_ema"},
        ),
    ],
)

EFFICIENTVMAMBA = _family(
    HF + "TerryPei/EfficientVMamba-",
    "Apache-2.0 (model cards)",
    "https://github.com/TerryPei/EfficientVMamba",
    [
        ("efficientvmamba_t", CLS, "Tiny/resolve/main/efficient_vmamba_tiny.ckpt", _cls(76.5)),
        ("efficientvmamba_s", CLS, "Small/resolve/main/efficient_vmamba_small.ckpt", _cls(78.7)),
        ("efficientvmamba_b", CLS, "Base/resolve/main/efficient_vmamba_base.ckpt", _cls(81.8)),
    ],
)

MSVMAMBA = _family(
    "",
    "none stated",
    "https://github.com/YuHengsss/MSVMamba",
    [
        (name, task, f"https://drive.google.com/drive/folders/{folder}", expected, {"page": True})
        for name, task, folder, expected in [
            ("msvmamba_nano", CLS, "1J41w3ApitQhp2O3wHmJoOs4U032uqebK", _cls(77.3)),
            ("msvmamba_micro", CLS, "1jfl2GmuKcUB8sPwRlyHK_wT0MjqgljYk", _cls(79.8)),
            ("msvmamba_micro", M1, "12CrNAGBalU0yoQcQgPTGO5lM397Jc4La", _det(43.8, 39.9)),
            ("msvmamba_micro", M3, "10-8cDnRfnk_j4QxMHkhUyecucnM_82pt", _det(46.3, 41.8)),
            ("msvmamba_micro", SEG, "1naZHL4mwTchllAE001SsyZ_z4y_JRF0s", _seg(45.1, 45.4)),
            ("msvmamba_t", CLS, "1ddNWk89ohcxxMuVEaJ2Y5A6xeBKgA7lU", _cls(82.8)),
            ("msvmamba_t", M1, "1MogQ6PGdrgsyJckJTL9BJzlMCodJ3epu", _det(46.9, 42.2)),
            ("msvmamba_t", M3, "1dK1qFjaU8GmqvsmMr1mgppNJlNacHPtG", _det(48.3, 43.2)),
            ("msvmamba_t", SEG, "1FaFPFExDd_4goIlLjTR7fXsuMRr-vYoY", _seg(47.8)),
        ]
    ]
    + [
        (
            f"msvmamba_v3_{letter}",
            CLS,
            f"{HF}YuhengSSS/MSVMamba/resolve/main/msvmambav3_{size}_224.pth",
            _cls(top1),
        )
        for letter, size, top1 in (("t", "tiny", 83.0), ("s", "small", 84.1), ("b", "base", 84.4))
    ],
)

VSSD = _family(
    HF + "YuhengSSS/VSSD/resolve/main/",
    "none stated",
    "https://github.com/YuHengsss/VSSD",
    [
        ("vssd_micro", CLS, "vssd_micro_best.pth", _cls(82.5), {"key": "model"}),
        ("vssd_micro", M1, "mask_rcnn_vssd_fpn_coco_micro.pth", _det(45.4, 41.3)),
        ("vssd_micro", M3, "mask_rcnn_vssd_fpn_coco_micro_3x.pth", _det(47.7, 42.8)),
        (
            "vssd_micro",
            SEG,
            "upernet_vssd_final_4xb4-160k_ade20k-512x512_micro.pth",
            _seg(45.6, 46.0),
        ),
        ("vssd_t", CLS, "vssd_tiny_best_ema.pth", _cls(83.6), {"key": "model_ema"}),
        ("vssd_t", "classification_mesa", "vssd_tiny_e300_with_mesa.pth", _cls(84.1)),
        ("vssd_t", M1, "mask_rcnn_vssd_fpn_coco_tiny.pth", _det(46.9, 42.6)),
        ("vssd_t", M3, "mask_rcnn_vssd_fpn_coco_tiny_3x.pth", _det(48.8, 43.6)),
        ("vssd_t", SEG, "upernet_vssd_4xb4-160k_ade20k-512x512_tiny.pth", _seg(47.9, 48.7)),
        ("vssd_s", CLS, "vssd_small_best_ema.pth", _cls(84.1), {"key": "model_ema"}),
        ("vssd_s", "classification_mesa", "vssd_small_e300_with_mesa.pth", _cls(84.5)),
        (
            "vssd_s",
            M1,
            "mask_rcnn_vssd_fpn_coco_small.pth",
            _det(48.4, 43.5),
            {
                "note": "the authors link this file for 1x and for 3x (50.0, 44.6); which it is, is not known"
            },
        ),
        ("vssd_b", CLS, "vssd_base_best_ema.pth", _cls(84.7), {"key": "model_ema"}),
        ("vssd_b", "classification_mesa", "vssd_base_e300_with_mesa.pth", _cls(85.4)),
    ],
)

MLLA = _family(
    "https://cloud.tsinghua.edu.cn/f/{}/?dl=1",
    "MIT (the repository's)",
    "https://github.com/LeapLabTHU/MLLA",
    [
        ("mlla_t", CLS, "7a19712877cb4242889c", _cls(83.5)),
        ("mlla_t", M1, "ce362e868fb5491ca55c", _det(46.8, 42.1)),
        ("mlla_t", M3, "339d49127565432fb912", _det(48.8, 43.8)),
        ("mlla_s", CLS, "0e5d0b1409d540aaa80c", _cls(84.4)),
        ("mlla_s", M1, "3d29bec850e0441a8842", _det(49.2, 44.2)),
        ("mlla_s", M3, "b501c886982e4c7f926d", _det(50.5, 44.9)),
        ("mlla_b", CLS, "91c85c5a1061496d8796", _cls(85.3)),
        ("mlla_b", M1, "826278b01bed4df2bbc1", _det(50.5, 45.0)),
        ("mlla_b", SEG, "41760d4a531a4ffc9cbf", _seg(51.9, 52.5)),
    ],
)

SPATIAL_MAMBA = _family(
    "https://drive.google.com/file/d/{}/view",
    "Apache-2.0 (the repository's)",
    "https://github.com/EdwardChasel/Spatial-Mamba",
    [
        (name, task, file, expected, {"page": True})
        for name, task, file, expected in [
            ("spatialmamba_t", CLS, "19kXoqGSTuKKs4AHbdUSrdKZTwTWenLIW", _cls(83.5)),
            ("spatialmamba_t", M1, "1lmA0_pBQbvuMkJD1R5m3oS_2jXaSy3N3", _det(47.6, 42.9)),
            ("spatialmamba_t", M3, "1PY0_8ZCwogssmaULdc6MzVbCTGm_83Ew", _det(49.3, 43.6)),
            ("spatialmamba_t", SEG, "1ngRweMh6vLjfZ43fb_o_ZyHs6psxb6Ix", _seg(48.6, 49.4)),
            ("spatialmamba_s", CLS, "1Wb3sYoWLpgmWrmHMYKwdgDwGPZaqM28O", _cls(84.6)),
            ("spatialmamba_s", M1, "1pzjz1A6nWA9W2FW2Ymg5JSAMbvxmc2hP", _det(49.2, 44.0)),
            ("spatialmamba_s", M3, "19fDAk8cyMplgVRKqU0BC_3l1NxXzHYl_", _det(50.5, 44.6)),
            ("spatialmamba_s", SEG, "1Ve07Um4dIPCcdg0mdNLjGxJtxKNWB_Sy", _seg(50.6, 51.4)),
            ("spatialmamba_b", CLS, "1k8dHp2QRCOqBSgAi36YkhZp_O8LqOPjM", _cls(85.3)),
            ("spatialmamba_b", M1, "1oTyT0q88ernqc1_IyqBWHrVJJPGNRN8r", _det(50.4, 45.1)),
            ("spatialmamba_b", SEG, "1DLSC20TiSfzWrdgLRSdgrhnDn79nruB6", _seg(51.8, 52.6)),
        ]
    ],
)

MOBILEMAMBA = _family(
    HF + "Lewandofski/MobileMamba",
    "Apache-2.0 (model card; the repository is MIT)",
    "https://github.com/lewandofskee/MobileMamba",
    [
        (f"mobilemamba_{size}", task, "", _cls(top1), {"page": True})
        for size, plain, distilled in (
            ("t2", 73.6, 76.9),
            ("t4", 76.1, 78.9),
            ("s6", 78.0, 80.7),
            ("b1", 79.9, 82.2),
            ("b2", 81.6, 83.3),
            ("b4", 82.5, 83.6),
        )
        for task, top1 in ((CLS, plain), ("classification_distilled", distilled))
    ],
)

GROUPMAMBA = _family(
    HF + "Abdelrahman-shaker/",
    "MIT (the repository's)",
    "https://github.com/Amshaker/GroupMamba",
    [
        ("groupmamba_t", CLS, "GroupMamba-Tiny/resolve/main/groupmamba_tiny_ema.pth", _cls(83.3)),
        ("groupmamba_s", CLS, "GroupMamba-Small", _cls(83.9), {"page": True}),
        ("groupmamba_b", CLS, "GroupMamba-Base", _cls(84.5), {"page": True}),
    ],
)

MAMBA_REG = _family(
    HF + "Wangf3014/Mamba-Reg/resolve/main/",
    "none stated",
    "https://github.com/wangf3014/Mamba-Reg",
    [
        ("mambareg_s", CLS, "mambar_small_patch16_224.pth", _cls(81.4)),
        ("mambareg_b", CLS, "mambar_base_patch16_224.pth", _cls(83.0)),
        ("mambareg_l", CLS, "mambar_large_patch16_224.pth", _cls(83.6)),
    ],
)

VIM_F = _family(
    "https://github.com/yws-wxs/Vim-F/releases/download/",
    "none stated",
    "https://github.com/yws-wxs/Vim-F",
    [
        ("vimf_t", CLS, "v1.0.0.3/v2-ti-f-ckp.pth", _cls(76.7)),
        ("vimf_v1_t", CLS, "v1.0.0.2/Ti_pre_checkpoint.pth", _cls(76.0)),
        ("vimf_v1_s", CLS, "v1.0.0.2/S_pre_checkpoint.pth", _cls(80.5)),
    ],
)

PLAINMAMBA = _family(
    HF + "ChenhongyiYang/PlainMamba/resolve/main/",
    "Apache-2.0 (the repository's)",
    "https://github.com/ChenhongyiYang/PlainMamba",
    [
        (f"plainmamba_l{size}", task, file.format(size), expected)
        for size, top1, mask_rcnn, retinanet, miou in (
            (1, 77.9, (44.1, 39.1), 41.7, 44.1),
            (2, 81.6, (46.0, 40.6), 43.9, 46.8),
            (3, 82.3, (46.8, 41.2), 44.8, 49.1),
        )
        for task, file, expected in (
            (CLS, "l{}.pth", _cls(top1)),
            (M1, "detection/maskrcnn/l{}_1x.pth", _det(*mask_rcnn)),
            ("retinanet_1x", "detection/retinanet/l{}_1x.pth", {"box_ap": retinanet}),
            (SEG, "segmentation/l{}_upernet.pth", _seg(miou)),
        )
    ],
)

PUBLISHED: tuple[Published, ...] = (
    *VMAMBA,
    *MAMBAVISION,
    *LOCALMAMBA,
    *VIM,
    *EFFICIENTVMAMBA,
    *MOBILEMAMBA,
    *MSVMAMBA,
    *VSSD,
    *MLLA,
    *SPATIAL_MAMBA,
    *GROUPMAMBA,
    *MAMBA_REG,
    *VIM_F,
    *PLAINMAMBA,
)
