"""Score messages with a packaged model: what serving and evaluation share, free of torch."""
