"""Watch what comes in after training, and tell whether the filter is still good (the observatory)."""
