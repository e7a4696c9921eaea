"""From the official download of a data set to what training and evaluation read."""
