"""What is wrong, in words, with the command that mends it: what `doctor`, `engines check` and `--check` print.

    finding.py   one line of it
    sound.py     the sound server, the microphone, the virtual microphone, who listens to what
    taps.py      the four places where sound can be lost: microphone, in, out, virtual microphone
    engines.py   files intact, golden frames played, enough time for them
    cost.py      what a hop costs in CPU time
    machine.py   configuration, folders, priorities, logging out

Nothing here changes anything. Every outside fact comes in as an argument, so that each fault can be planted in a test.
"""
