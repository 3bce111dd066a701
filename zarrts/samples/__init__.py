"""What a sample is, which are selected, and in which rows and chunks they lie; reads no file."""
