"""Finished images as a model and as data: folder, zip, npz, and small named datasets."""
