# Sigma's network, schedule and runtime. It counts epochs, where other segmentors count iterations.
_base_ = [
    "../models/sigma.py",
    "../schedules/schedule_500e_sigma.py",
    "../default_runtime_seg.py",
]

custom_imports = dict(imports=["mmmamba.detection", "mmmamba.segmentation"])
default_hooks = dict(
    logger=dict(log_metric_by_epoch=True), checkpoint=dict(by_epoch=True, interval=10)
)
log_processor = dict(by_epoch=True)
