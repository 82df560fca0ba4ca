"""Data sets that MMDetection and MMSegmentation lack."""
