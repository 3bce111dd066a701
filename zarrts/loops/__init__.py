"""The inner loops over values, compiled where they can be, in NumPy everywhere, with equal bits."""
