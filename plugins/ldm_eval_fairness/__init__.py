"""Checks of demographic bias, and classifiers of attributes."""
