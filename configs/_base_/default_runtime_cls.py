# default_runtime.py for MMPretrain.
_base_ = "./default_runtime.py"

custom_imports = dict(imports=["mmmamba.classification"])
default_scope = "mmpretrain"
default_hooks = dict(
    checkpoint=dict(save_best="accuracy/top1"), visualization=dict(type="VisualizationHook")
)
visualizer = dict(type="UniversalVisualizer")
