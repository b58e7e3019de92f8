"""The floating-point training machine; docs/training.md is its design."""
