"""Backend and trainer for the models that ldm-eval trains itself."""
