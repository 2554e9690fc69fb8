"""Train the classifier: base model, features, probe, loop and the linear expert."""
