"""Data: labels of public data sets and of one's own recordings, augmentation, synthetic captures."""
