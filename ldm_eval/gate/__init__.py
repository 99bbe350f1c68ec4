"""From results.json and a policy to a verdict: pure functions."""
