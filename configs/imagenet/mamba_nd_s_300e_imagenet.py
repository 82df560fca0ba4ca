_base_ = [
    "../_base_/models/classifier.py",
    "../_base_/datasets/imagenet_224.py",
    "../_base_/schedules/schedule_300e_imagenet_mamba_nd.py",
    "../_base_/default_runtime_cls.py",
]

model = dict(backbone=dict(type="MambaND", arch="mamba_nd_s", drop_path_rate=0.1))
expected = dict(
    metrics={"accuracy/top1": 81.7},
    source="https://github.com/jacklishufan/Mamba-ND, table of classification results",
    verified=False,
)
