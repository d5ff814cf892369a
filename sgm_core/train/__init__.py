"""Training: one readable loop that yields, and what hangs on it."""
