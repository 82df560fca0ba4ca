# COCO 2017 as in coco_instance.py, trained at many scales: a short side of 480 to 800, half of the
# time after a crop (the augmentation of DETR, Carion et al. 2020).
_base_ = "./coco_instance.py"

short_sides = [(side, 1333) for side in range(480, 801, 32)]

train_dataloader = dict(
    dataset=dict(
        pipeline=[
            dict(type="LoadImageFromFile"),
            dict(type="LoadAnnotations", with_bbox=True, with_mask=True),
            dict(type="CutOutMasks"),
            dict(type="RandomFlip", prob=0.5),
            dict(
                type="RandomChoice",
                transforms=[
                    [dict(type="RandomChoiceResize", scales=short_sides, keep_ratio=True)],
                    [
                        dict(
                            type="RandomChoiceResize",
                            scales=[(400, 1333), (500, 1333), (600, 1333)],
                            keep_ratio=True,
                        ),
                        dict(
                            type="RandomCrop",
                            crop_type="absolute_range",
                            crop_size=(384, 600),
                            allow_negative_crop=True,
                        ),
                        dict(type="RandomChoiceResize", scales=short_sides, keep_ratio=True),
                    ],
                ],
            ),
            dict(type="PackMasks"),
            dict(type="PackDetInputs"),
        ]
    )
)
