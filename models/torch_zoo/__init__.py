"""Reference networks in torch and their training; the only place that imports torch."""
