"""Open the door: read what was typed, start the flow, show its progress, return its exit code."""
