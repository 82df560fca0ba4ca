# MambaVision's 310 epochs of LAMB on ImageNet. The authors' script states 128 images for each GPU,
# not how many GPUs; 4096 images an iteration is the paper's, by memory and not looked up again.
# Where the warm-up starts and where the cosine ends is not stated: at a thousandth of the rate and
# at 1e-5, as Swin Transformer's.
_base_ = "./schedule_300e_imagenet.py"

max_epochs = 310
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type="Lamb", lr=5e-3, betas=(0.9, 0.999), weight_decay=0.05)
)
param_scheduler = [
    dict(
        type="LinearLR",
        start_factor=1e-3,
        by_epoch=True,
        begin=0,
        end=20,
        convert_to_iter_based=True,
    ),
    dict(
        type="CosineAnnealingLR",
        eta_min=1e-5,
        by_epoch=True,
        begin=20,
        end=max_epochs,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(max_epochs=max_epochs)
auto_scale_lr = dict(base_batch_size=4096)
custom_hooks = [dict(type="EMAHook", momentum=2e-4, update_buffers=True, priority=49)]
