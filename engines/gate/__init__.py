"""Who speaks, and which specialist suits: voice vectors, gates, and a judge of outputs."""
