"""Simulate production: synthetic messages, drift and labels (the stage)."""
