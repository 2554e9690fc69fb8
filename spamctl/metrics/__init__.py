"""Measure a filter: scores, thresholds, comparisons, evaluation by kind, and the quality of labels."""
