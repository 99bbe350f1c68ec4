"""Checks of quality and diversity."""
