# COCO 2017 as YOLO detectors are trained and tested, at 640 pixels. `late_pipeline` is that of the
# last epochs, without mosaic; the affine stays. The authors recompute the boxes of moved images
# from their polygons; here boxes are moved.
data_root = "data/coco/"
size = 640

load = [dict(type="LoadImageFromFile"), dict(type="LoadAnnotations", with_bbox=True)]
affine = dict(
    type="CenteredRandomAffine",
    size=(size, size),
    max_translate_ratio=0.1,
    scaling_ratio_range=(0.5, 1.5),
)
# Never, as the authors train all scales: --cfg-options
# train_dataloader.dataset.pipeline.4.prob=0.1 tries it.
mixup = dict(
    type="CachedMixUp",
    img_scale=(size, size),
    ratio_range=(1.0, 1.0),
    flip_ratio=1.0,
    max_cached_images=20,
    prob=0.0,
)
augment = [
    dict(type="HSVGain", hue=0.015, saturation=0.7, value=0.4),
    dict(type="RandomFlip", prob=0.5),
    dict(
        type="PackDetInputs",
        meta_keys=("img_id", "img_path", "ori_shape", "img_shape", "flip", "flip_direction"),
    ),
]
# The authors' program draws the other three images from the last ones loaded, too.
mosaic = dict(
    type="CachedMosaic", img_scale=(size, size), pad_val=114.0, prob=1.0, max_cached_images=128
)
train_pipeline = [*load, mosaic, affine, mixup, *augment]
late_pipeline = [*load, dict(type="Letterbox", size=size), affine, *augment]
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="Letterbox", size=size, rect=True),
    dict(type="LoadAnnotations", with_bbox=True),
    dict(
        type="PackDetInputs",
        meta_keys=("img_id", "img_path", "ori_shape", "img_shape", "scale_factor", "pad_param"),
    ),
]

train_dataloader = dict(
    batch_size=64,
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    collate_fn=dict(type="shared_collate"),
    sampler=dict(type="DefaultSampler", shuffle=True),
    dataset=dict(
        type="CocoDataset",
        data_root=data_root,
        ann_file="annotations/instances_train2017.json",
        data_prefix=dict(img="train2017/"),
        # Images without boxes are background to learn from.
        filter_cfg=dict(filter_empty_gt=False, min_size=10),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type="CocoDataset",
        data_root=data_root,
        ann_file="annotations/instances_val2017.json",
        data_prefix=dict(img="val2017/"),
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader

val_evaluator = dict(
    type="CocoMetric",
    ann_file=data_root + "annotations/instances_val2017.json",
    metric="bbox",
    proposal_nums=(100, 1, 10),
)
test_evaluator = val_evaluator
