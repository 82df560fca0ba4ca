# imagenet_224.py with repeated augmentation: an epoch takes a third of the images, three times each
# and augmented differently (DeiT, arXiv 2012.12877).
_base_ = "./imagenet_224.py"

train_dataloader = dict(sampler=dict(type="RepeatAugSampler"))
