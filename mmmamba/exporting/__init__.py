"""Trained models as files that run without mmmamba: ONNX, OpenVINO, torch.export, AOTInductor."""
