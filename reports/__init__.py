"""The command line and the reports of runs, training steps and sweeps."""
