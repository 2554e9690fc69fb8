"""Run the command line: parse arguments, start flows, show their progress, return an exit code."""
