_base_ = "./mambavision_t_310e_imagenet.py"

model = dict(backbone=dict(arch="mambavision_t2"))
test_pipeline = _base_.test_pipeline
test_pipeline[1].scale = 228
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
expected = dict(metrics={"accuracy/top1": 82.7})
