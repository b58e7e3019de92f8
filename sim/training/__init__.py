"""Runs training steps on RTL and compares them with the models."""
