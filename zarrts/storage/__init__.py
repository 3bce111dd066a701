"""The schema on disk: segments, shards, chunks and their table, written, opened and decoded."""
