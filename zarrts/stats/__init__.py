"""Count, mean, variance, range and quantiles that merge, and scaling by them; reads no file."""
