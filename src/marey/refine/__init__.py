"""Gap filling, smoothing, bone lengths; every filled value flagged."""
