# default_runtime.py for MMSegmentation, which counts iterations where MMDetection counts epochs.
_base_ = "./default_runtime.py"

default_scope = "mmseg"
default_hooks = dict(
    logger=dict(log_metric_by_epoch=False),
    checkpoint=dict(by_epoch=False, interval=16_000, save_best="mIoU"),
    visualization=dict(type="SegVisualizationHook"),
)
visualizer = dict(type="SegLocalVisualizer")
log_processor = dict(by_epoch=False)
tta_model = dict(type="SegTTAModel")
