"""What records and plays: the contract (base) and its three kinds (portaudio, file, fake)."""
