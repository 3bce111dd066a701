"""Look at recordings: read any stretch of them, and scroll through them in a browser."""
