"""The stream of batches: decode ahead into reused memory, gather, and hand out."""
