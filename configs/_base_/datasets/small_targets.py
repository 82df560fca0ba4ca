# Sets of small targets: images/ and masks/ under the same names, and lists of these names. A config
# says data_root and the lists.
data_root = "data/small_targets/"

train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations"),
    dict(type="Resize", scale=(512, 512), keep_ratio=False),
    dict(type="RandomResize", scale=(512, 512), ratio_range=(0.75, 1.5), keep_ratio=True),
    dict(type="RandomCrop", crop_size=(512, 512)),
    dict(type="RandomFlip", prob=[0.25, 0.25], direction=["horizontal", "vertical"]),
    dict(type="PackSegInputs"),
]
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="Resize", scale=(512, 512), keep_ratio=False),
    # After Resize: targets are scored at the size of their image.
    dict(type="LoadAnnotations"),
    dict(type="PackSegInputs"),
]

folders = dict(img_path="images", seg_map_path="masks")
train_dataloader = dict(
    batch_size=8,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="InfiniteSampler", shuffle=True),
    dataset=dict(
        type="SmallTargetDataset",
        data_root=data_root,
        ann_file="train.txt",
        data_prefix=folders,
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type="SmallTargetDataset",
        data_root=data_root,
        ann_file="test.txt",
        data_prefix=folders,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader

val_evaluator = dict(type="SmallTargetMetric")
test_evaluator = val_evaluator
