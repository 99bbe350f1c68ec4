"""The mathematics of diffusion: schedules, parameterisations, samplers, per-sample randomness.

Importing this package imports nothing else; ``randomness`` is pure Python, every other module needs torch.
"""
