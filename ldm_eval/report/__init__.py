"""From results.json and a verdict to a model card and its figures."""
