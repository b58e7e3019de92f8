"""Integer models, reference networks, their weights and data; imports nothing else of ours."""
