"""Pure batched tensor mathematics: cameras, rotations, alignment, triangulation, least squares."""
