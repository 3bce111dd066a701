"""File formats: the arrays in a file, found by its headers alone."""
