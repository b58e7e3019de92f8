"""Outside models in three steps: a file becomes operators, operators a trace, a trace a network.

`onnx_file` and `pt2_file` read; `program` holds what they make; `tracer` follows the activations;
`builder` makes layers of them; `finish` gives the layers their normal form and names.
"""
