"""Checks of misinformation and misuse."""
