"""Sources of 2D evidence, tracking, left/right test, cross-view association."""
