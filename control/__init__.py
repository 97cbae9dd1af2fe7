"""The control channel."""
