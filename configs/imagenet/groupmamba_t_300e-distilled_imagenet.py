# The first of the two heads learns the labels, the second what the teacher takes for the class.
_base_ = [
    "../_base_/models/classifier.py",
    "../_base_/datasets/imagenet_224.py",
    "../_base_/schedules/schedule_300e_imagenet.py",
    "../_base_/default_runtime_cls.py",
]

model = dict(
    type="DistilledClassifier",
    backbone=dict(type="GroupMamba", arch="groupmamba_t", drop_path_rate=0.05),
    teacher=dict(library="timm", model="regnety_160.deit_in1k", pretrained=True),
    distillation=dict(kind="hard", weight=0.5),
)
expected = dict(
    metrics={"accuracy/top1": 83.3},
    source="https://github.com/Amshaker/GroupMamba, table of classification results",
    verified=False,
)
