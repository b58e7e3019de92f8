"""Integer reference models, reference networks, their weights and their data; imports nothing of ours."""
