"""Answer messages with a registered model."""
