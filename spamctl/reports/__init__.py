"""Show what a run found, in pictures, cards and terminal tables."""
