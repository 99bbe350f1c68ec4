"""Models and data whose every number is known, and the kit that proves checks on them."""
