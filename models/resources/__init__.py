"""What an accelerator takes of its part, from its parameters."""
