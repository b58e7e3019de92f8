"""Simulation: builds the RTL with Verilator, runs it and compares it with the models."""
