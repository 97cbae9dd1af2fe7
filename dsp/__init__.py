"""Arithmetic on sound, with explicit state. Knows no file, thread, clock or network.

In the order in which a sample meets them: `resample` (to a rate of the grid), `levels` (meters),
`spec`, `fft` and `stft` (into frames), `noise` (what the classical engine listens with), `clues` and `highband` (gains
above 8 kHz), `stft` again (back to samples), `mixing` (dry path, limits, ramps), `limiter` (last stage).
"""
