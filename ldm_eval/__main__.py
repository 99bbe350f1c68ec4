"""``python -m ldm_eval`` is ``ldm-eval``."""

from ldm_eval.cli import main

if __name__ == "__main__":
    main()
