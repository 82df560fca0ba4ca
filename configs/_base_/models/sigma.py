# Sigma (Wan et al., arXiv 2404.04256): pairs of images, six channels. The authors' means are of
# red, green and blue, and what they read is blue, green and red: with `rgb_to_bgr` it is the same
# here, as their weights need it. The config that uses this adds the arch, widths and classes.
model = dict(
    type="EncoderDecoder",
    data_preprocessor=dict(
        type="AnyChannelsSegDataPreProcessor",
        mean=[123.675, 116.28, 103.53, 123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375, 58.395, 57.12, 57.375],
        rgb_to_bgr=True,
        pad_val=0,
        seg_pad_val=255,
        size=(480, 640),
    ),
    backbone=dict(type="SigmaBackbone"),
    decode_head=dict(
        type="SigmaHead",
        loss_decode=dict(type="CrossEntropyLoss", use_sigmoid=False, loss_weight=1.0),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode="whole"),
)
