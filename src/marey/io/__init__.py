"""One file per format: arrays and skeletons in and out."""
