"""C++ templates of the accelerator's units for high-level synthesis."""
