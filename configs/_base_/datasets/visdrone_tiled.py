# VisDrone2019-DET, ten classes, in tiles of 640 pixels; AP is that of whole images. Files as
# tools/aerial_to_coco.py writes them: regions that nobody labelled are crowds of every class.
# Tile and overlap are our choice.
data_root = "data/visdrone/"
size, overlap = 640, 0.25
classes = (
    "pedestrian",
    "people",
    "bicycle",
    "car",
    "van",
    "truck",
    "tricycle",
    "awning-tricycle",
    "bus",
    "motor",
)
turns = dict(type="RandomFlip", prob=0.5)

train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations", with_bbox=True),
    dict(type="Resize", scale=(size, size), keep_ratio=True),
    turns,
    dict(type="PackDetInputs"),
]
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="Resize", scale=(size, size), keep_ratio=True),
    dict(type="LoadAnnotations", with_bbox=True),
    dict(
        type="PackDetInputs",
        meta_keys=("img_id", "img_path", "ori_shape", "img_shape", "scale_factor"),
    ),
]

train_dataloader = dict(
    batch_size=4,
    num_workers=4,
    persistent_workers=True,
    pin_memory=True,
    collate_fn=dict(type="shared_collate"),
    sampler=dict(type="DefaultSampler", shuffle=True),
    dataset=dict(
        type="TiledDataset",
        size=size,
        overlap=overlap,
        dataset=dict(
            type="CocoDataset",
            data_root=data_root,
            ann_file="annotations/train.json",
            data_prefix=dict(img="VisDrone2019-DET-train/images/"),
            metainfo=dict(classes=classes),
            filter_cfg=dict(filter_empty_gt=True, min_size=32),
            pipeline=train_pipeline,
        ),
    ),
)
# Each process holds the image that its tiles are of.
val_dataloader = dict(
    batch_size=4,
    num_workers=2,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type="TiledDataset",
        size=size,
        overlap=overlap,
        dataset=dict(
            type="CocoDataset",
            data_root=data_root,
            ann_file="annotations/val.json",
            data_prefix=dict(img="VisDrone2019-DET-val/images/"),
            metainfo=dict(classes=classes),
            test_mode=True,
            pipeline=test_pipeline,
        ),
    ),
)
test_dataloader = val_dataloader

# VisDrone's own score counts 500 detections of an image.
val_evaluator = dict(
    type="TiledCocoMetric",
    ann_file=data_root + "annotations/val.json",
    metric="bbox",
    proposal_nums=(1, 100, 500),
)
test_evaluator = val_evaluator
