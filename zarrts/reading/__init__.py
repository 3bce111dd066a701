"""What an open store holds, and its samples and labels, read on their own without a stream."""
