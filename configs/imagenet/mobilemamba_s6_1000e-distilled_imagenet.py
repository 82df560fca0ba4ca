# The teacher is TResNet-L v2 (83.9), which sees the student's images at 224 x 224. Its loss is
# added to that of the labels, on the same logits.
_base_ = "./mobilemamba_s6_300e_imagenet.py"

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
expected = dict(metrics={"accuracy/top1": 80.7})
