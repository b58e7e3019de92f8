"""The accelerator in Amaranth, one component a file, and its way out to Verilog."""
