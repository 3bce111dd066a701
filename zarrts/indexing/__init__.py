"""Arithmetic of samples: their rows, their chunks, and sets of them. Reads no file."""
