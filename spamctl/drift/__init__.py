"""Detect drift after training, and judge whether the filter is still good (the observatory)."""
