"""The embedded default: dataset, trained checkpoint, policy."""
