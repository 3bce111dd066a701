"""Which samples an epoch shows, and in which order; reads no file."""
