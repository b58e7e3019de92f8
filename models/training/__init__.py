"""Training steps: what one is made of, and how numpy executes it, bit for bit as the machine."""
