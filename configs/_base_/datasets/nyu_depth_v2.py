# NYU Depth V2 (Silberman et al. 2012): colour and depth images of 480 x 640, 40 classes stored from
# 1, 0 for none. Files of a pair have one name in rgb/, depth/ and labels/; train.txt and test.txt
# hold the names without `.png`. With --tta: three sizes, each also mirrored.
data_root = "data/nyu_depth_v2"
metainfo = dict(
    classes=(
        "wall",
        "floor",
        "cabinet",
        "bed",
        "chair",
        "sofa",
        "table",
        "door",
        "window",
        "bookshelf",
        "picture",
        "counter",
        "blinds",
        "desk",
        "shelves",
        "curtain",
        "dresser",
        "pillow",
        "mirror",
        "floor mat",
        "clothes",
        "ceiling",
        "books",
        "refrigerator",
        "television",
        "paper",
        "towel",
        "shower curtain",
        "box",
        "whiteboard",
        "person",
        "night stand",
        "toilet",
        "sink",
        "lamp",
        "bathtub",
        "bag",
        "otherstructure",
        "otherfurniture",
        "otherprop",
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
tta_pipeline = [
    dict(type="LoadPairedImage"),
    dict(
        type="TestTimeAug",
        transforms=[
            [dict(type="Resize", scale_factor=r, keep_ratio=True) for r in (0.75, 1.0, 1.25)],
            [dict(type="RandomFlip", prob=prob, direction="horizontal") for prob in (0.0, 1.0)],
            [dict(type="LoadAnnotations")],
            [dict(type="PackSegInputs")],
        ],
    ),
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
        reduce_zero_label=True,
        ann_file="train.txt",
        data_prefix=dict(img_path="rgb", second_path="depth", seg_map_path="labels"),
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
        reduce_zero_label=True,
        ann_file="test.txt",
        data_prefix=dict(img_path="rgb", second_path="depth", seg_map_path="labels"),
        img_suffix=".png",
        seg_map_suffix=".png",
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader

val_evaluator = dict(type="IoUMetric", iou_metrics=["mIoU"])
test_evaluator = val_evaluator
