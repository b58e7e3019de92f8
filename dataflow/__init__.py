"""The mapper and the exact cycle model: from a network graph to a command stream."""
