"""How the shared image network is trained: on synthetic captures, for people, keypoints and parts at once."""
