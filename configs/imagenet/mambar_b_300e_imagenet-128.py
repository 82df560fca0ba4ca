# The first of three stages: at 128 x 128. The next are mambar_b_100e_imagenet.py and
# mambar_b_20e_imagenet.py, which start from this run's folder. Their average of the weights, which
# the authors kept and did not evaluate, is left out.
_base_ = [
    "../_base_/models/classifier.py",
    "../_base_/datasets/imagenet_224_3augment.py",
    "../_base_/schedules/schedule_300e_imagenet_mambar.py",
    "../_base_/default_runtime_cls.py",
]

model = dict(
    backbone=dict(type="MambaR", arch="mambar_b", img_size=128, drop_path_rate=0.1),
    head=dict(loss=dict(label_smooth_val=0.0)),
)
train_pipeline = _base_.train_pipeline
train_pipeline[1].scale = 128
test_pipeline = _base_.test_pipeline
test_pipeline[1].scale = 128
test_pipeline[2].crop_size = 128
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
