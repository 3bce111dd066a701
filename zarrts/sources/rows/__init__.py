"""Readers of rows: arrays in files and in memory, read from any row to any other."""
