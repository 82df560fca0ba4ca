# Without the teacher of the published weights (83.3).
_base_ = [
    "../_base_/models/classifier.py",
    "../_base_/datasets/imagenet_224.py",
    "../_base_/schedules/schedule_300e_imagenet.py",
    "../_base_/default_runtime_cls.py",
]

model = dict(backbone=dict(type="GroupMamba", arch="groupmamba_t", drop_path_rate=0.05))
expected = dict(
    metrics={"accuracy/top1": 82.5},
    source="arXiv 2407.13772, table of ablations",
    verified=False,
)
