"""MeTRAbs: 3D joints at their place before the camera, from one image."""
