"""The offline workshop: data, simulation, losses, models, training loop, export and evaluation.

A sample meets the modules in this order: `corpus` (recordings on disk) -> `simulate` (what a live microphone
would have heard) -> `frames` (the house spectral grid) -> `models` -> `losses` -> `loop` -> `export` -> `evaluate`.
`wideband` -> `highband` train the small head for the bins above 8 kHz in the same way.
torch lives on this floor and nowhere else, and nothing below imports it.
"""
