_base_ = "./mobilemamba_b1_300e_imagenet.py"

model = dict(backbone=dict(arch="mobilemamba_b4"))
train_pipeline = _base_.train_pipeline
train_pipeline[1].scale = 512
test_pipeline = _base_.test_pipeline
test_pipeline[1].scale = 585
test_pipeline[2].crop_size = 512
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
expected = dict(metrics={"accuracy/top1": 82.5})
