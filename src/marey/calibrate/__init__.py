"""Cameras: boards, synchronisation, extrinsics, and their adjustment to what people show."""
