"""Orders of an epoch: the samples that it shows, one after the other. Reads no file."""
