"""From a training step to the training machine's commands, and their exact cycles."""
