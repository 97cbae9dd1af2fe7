"""The live path: devices, runner, pipeline and the facade over them."""
