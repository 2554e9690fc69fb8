"""Turn a trained classifier into a sealed package for a fast runtime."""
