"""pse-stream: real-time personalised speech enhancement."""

__version__ = "0.1.0"
