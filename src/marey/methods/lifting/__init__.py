"""2D keypoints of one person in one frame become root-relative joints in 3D, with covariance: a tiny learned method."""
