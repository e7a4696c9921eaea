"""Data: synthetic captures today; public data sets and augmentation as they come."""
