"""The mathematics of diffusion: schedules, parameterisations, samplers, per-sample randomness."""
