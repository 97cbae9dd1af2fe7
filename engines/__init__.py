"""Everything that turns a noisy frame into a clean one.

`contract` says what an engine is; `registry` finds engines by name; `package` reads a model package from disk and
`onnx` plays it; `bypass` and `wiener` need no weights; `handover` changes from one to another while sound flows.
"""
