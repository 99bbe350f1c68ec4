"""Checks of memorisation and privacy leakage."""
