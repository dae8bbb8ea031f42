"""Faster, slower, the same, or cannot tell: which points pair, what the statistics say, and how it is shown."""
