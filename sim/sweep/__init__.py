"""Design-space exploration: a space of accelerators, searched, stored and confirmed on RTL."""
