"""Everything that turns a noisy frame into a clean one.

In the order in which a frame and a reader meet them:

    contract        what an engine is
    registry        ids -> engines: built in, packages, plug-ins
    bypass, wiener  engines without weights
    package         a model package on disk, read; package_writer writes one
    onnx            plays a package
    handover        from one engine, or level, to another while sound flows
    rnnoise         the first plug-in
"""
