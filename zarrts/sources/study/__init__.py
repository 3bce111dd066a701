"""Studies: the recordings in files, tables and arrays, and the subjects that they belong to."""
