"""Mamba YOLO: its blocks, neck, head and detector, and what makes one-stage detectors fast."""
