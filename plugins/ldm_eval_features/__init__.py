"""Feature extractors: EfficientNet-Lite0 (embedded) and Inception-2015."""
