"""Build, measure and package the classifier: backbone, training, scores, threshold, engine, registry."""
