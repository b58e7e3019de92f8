"""The machine for training: floating-point products."""
