# default_runtime_seg.py for segmentors that were published whole, and for sets of small targets.
_base_ = "./default_runtime_seg.py"

custom_imports = dict(
    imports=["mmmamba.detection", "mmmamba.segmentation"], allow_failed_imports=False
)
default_hooks = dict(checkpoint=dict(interval=1000, save_best="IoU"))
