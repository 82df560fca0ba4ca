# MFNet (Ha et al. 2017): colour and thermal images of 480 x 640, 9 classes. Files of a pair have
# one name in rgb/, thermal/ and labels/; train.txt and test.txt hold the names without `.png`.
data_root = "data/mfnet"
metainfo = dict(
    classes=(
        "unlabeled",
        "car",
        "person",
        "bike",
        "curve",
        "car stop",
        "guardrail",
        "color cone",
        "bump",
    )
)

train_pipeline = [
    dict(type="LoadPairedImage"),
    dict(type="LoadAnnotations"),
    dict(type="RandomFlip", prob=0.5),
    dict(
        type="RandomChoice",
        transforms=[
            [dict(type="Resize", scale_factor=r, keep_ratio=True)]
            for r in (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
        ],
    ),
    dict(type="RandomCrop", crop_size=(480, 640)),
    dict(type="PackSegInputs"),
]
test_pipeline = [
    dict(type="LoadPairedImage"),
    dict(type="LoadAnnotations"),
    dict(type="PackSegInputs"),
]

train_dataloader = dict(
    batch_size=8,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=True),
    dataset=dict(
        type="PairedSegDataset",
        data_root=data_root,
        metainfo=metainfo,
        ann_file="train.txt",
        data_prefix=dict(img_path="rgb", second_path="thermal", seg_map_path="labels"),
        img_suffix=".png",
        seg_map_suffix=".png",
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type="PairedSegDataset",
        data_root=data_root,
        metainfo=metainfo,
        ann_file="test.txt",
        data_prefix=dict(img_path="rgb", second_path="thermal", seg_map_path="labels"),
        img_suffix=".png",
        seg_map_suffix=".png",
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader

val_evaluator = dict(type="IoUMetric", iou_metrics=["mIoU"])
test_evaluator = val_evaluator
