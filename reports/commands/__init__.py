"""The sub-commands of `moesaic`: each file adds its arguments and runs."""
