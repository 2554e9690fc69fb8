"""Simulate production: synthetic messages, drift, the client that sends them, and simulated labels."""
