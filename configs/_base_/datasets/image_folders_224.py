# Folders of classes below train/ and val/, at 224 x 224: what imagenet_224.py does to ImageNet.
_base_ = "./imagenet_224.py"

data_root = "data/images"
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type="CustomDataset",
        data_root=data_root,
        data_prefix="train",
        pipeline=_base_.train_pipeline,
    )
)
val_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type="CustomDataset",
        data_root=data_root,
        data_prefix="val",
        pipeline=_base_.test_pipeline,
    )
)
test_dataloader = val_dataloader
