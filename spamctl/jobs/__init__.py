"""Run short jobs as child processes: short verbs, reviews, and the pages of past runs."""
