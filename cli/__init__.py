"""What is typed: one file per command, over `console` (streams, colour, JSON) and `flags` (same word, same meaning).

main.py -> root.py -> a command. A command parses, calls one function of a lower floor and prints; numpy, devices and
networks are imported inside it, so that `--help` answers at once.
"""
