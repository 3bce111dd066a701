"""Selections of an open store, and functions that read or count their samples and labels."""
