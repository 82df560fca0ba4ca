"""Many images on one sheet: a data set, the first batches, a validation."""
