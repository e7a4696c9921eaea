"""Bodies: trees of joints that rotate, how they follow from joints, and joint angles."""
