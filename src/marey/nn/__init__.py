"""Networks and layers: tensors in, tensors out; nothing about files."""
