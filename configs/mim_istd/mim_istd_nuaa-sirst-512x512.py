# NUAA-SIRST (Dai et al., arXiv 2009.14530), 427 images. The authors published weights for it,
# behind a page (docs/small_targets.md): the network reads its tokens as these were trained to
# (maps_as_published, of the arch), and takes square images with a side of a multiple of 64. The
# training settings are ours, as the authors' repository has none.
_base_ = [
    "../_base_/models/mim_istd.py",
    "../_base_/datasets/small_targets.py",
    "../_base_/default_runtime_small_targets.py",
    "../_base_/schedules/schedule_small_targets.py",
]

data_root = "data/NUAA-SIRST/"
# The lists that stand beside the images where the set is distributed: change them to yours. In its
# first edition masks are called NAME_pixels0.png (seg_map_suffix="_pixels0.png").
train = dict(data_root=data_root, ann_file="img_idx/train_NUAA-SIRST.txt")
test = dict(data_root=data_root, ann_file="img_idx/test_NUAA-SIRST.txt")
train_dataloader = dict(dataset=train)
val_dataloader = dict(dataset=test)
test_dataloader = val_dataloader
