"""The terminal screen of a running denoiser: a program of its own, over the control channel.

    feed.py         a thread: telemetry in, batches out; notices when the denoiser is gone and tries again
    model.py        what is known now, peaks held, loads remembered; knows no terminal
    panel.py        a part that is text; panels.py, events.py and spectrogram.py are what there is
    canvas.py       draws what moves, past the compositor
    dialogs.py      choose from a list, type a number, confirm, help
    actions.py      what can be done: the keys, the palette and the help come from it
    wishes.py       the actions that ask the denoiser for something
    app.py          puts them together
    plain.py        the same facts as lines, for braille, speech and pipes

Nothing of the sound is in this process, and nothing here can slow the sound.
"""
