"""Play production: synthetic messages, drift and simulated labels (the stage)."""
