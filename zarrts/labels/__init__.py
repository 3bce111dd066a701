"""Labels: their classes, how they are merged, and how a network wants them."""
