_base_ = "./mobilemamba_t2_300e_imagenet.py"

model = dict(
    type="DistilledClassifier",
    teacher=dict(
        library="timm", model="tresnet_v2_l.miil_in21k_ft_in1k", pretrained=True, size=224
    ),
    distillation=dict(kind="soft", temperature=1.0, weight=5.0, label_weight=1.0),
)
param_scheduler = _base_.param_scheduler
param_scheduler[1].end = 1000
train_cfg = dict(max_epochs=1000)
expected = dict(metrics={"accuracy/top1": 76.9})
