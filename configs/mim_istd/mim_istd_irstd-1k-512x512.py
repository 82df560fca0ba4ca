# IRSTD-1k (Zhang et al., ISNet, CVPR 2022), 1,001 images of 512 x 512. No weights are published for
# it, so that tokens stand at their places here (maps_as_published=False): images may have any size.
# The training settings are ours, as the authors' repository has none.
_base_ = [
    "../_base_/models/mim_istd.py",
    "../_base_/datasets/small_targets.py",
    "../_base_/default_runtime_small_targets.py",
    "../_base_/schedules/schedule_small_targets.py",
]

model = dict(backbone=dict(maps_as_published=False))

data_root = "data/IRSTD-1k/"
# The lists that stand beside the images where the set is distributed: change them to yours.
train = dict(data_root=data_root, ann_file="img_idx/train_IRSTD-1K.txt")
test = dict(data_root=data_root, ann_file="img_idx/test_IRSTD-1K.txt")
train_dataloader = dict(dataset=train)
val_dataloader = dict(dataset=test)
test_dataloader = val_dataloader
