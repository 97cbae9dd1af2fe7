"""The control channel: how a running denoiser is seen and changed from outside its process.

In the order in which a wish meets them:

    ctl, ctl_parser, ctl_verbs, ctl_text   a command line that a hotkey can wait for
    client, connection, link, reader       the public Python interface: verbs, asking again, sockets and keys, telemetry
    sockets                                messages in and out, for client and server
    tui/                                   the terminal screen, a program of its own
    instance, keys, allowed, zap, listener          where the sockets are, and who may use them
    server, reception, underway, sessions, budget   the server's thread: messages in, answers out, all of it bounded
    commands, messages, faults             the protocol: methods with typed parameters, JSON, refusals with stable names
    desk, patch, catalog, self_check       from requests to the denoiser's commands, and to answers
    contract                               what all this needs of a denoiser
    telemetry, topics, spectrum            what is pushed to whoever listens
    audit                                  who asked for what
    hosting, service, systemd              given to a denoiser by `run`; in the background by systemd
    keys_cli, protocol_page                what `pse-stream keys` does; docs/protocol.md, made from the code

`ctl`, `client` and what they import know nothing of numpy, dsp, engines and streaming: see benchmarks/control.py.
"""
