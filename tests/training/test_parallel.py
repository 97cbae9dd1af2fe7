"""training/parallel.py: two real processes train one network, as torchrun starts them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from pse_stream.training.loop import load_checkpoint
from pse_stream.training.recipe import RecipeError, parse_recipe

RECIPE = """
name = "pair"
[model]
family = "gru"
width = 8
[data]
batch = 2
segment_s = 0.4
chunks = 2
statistics_mixtures = 2
[optim]
updates = 4
warmup = 2
[log]
checkpoint_every = 2
validation_mixtures = 2
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_two_processes_share_the_work_and_agree(packs, tmp_path):
    recipe = tmp_path / "pair.toml"
    recipe.write_text(RECIPE)
    environment = os.environ | {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    command = [sys.executable, "-m", "pse_stream.training.cli", "train", str(recipe), "--data", str(packs)]
    command += ["--cache", str(tmp_path / "cache"), "--runs", str(tmp_path)]
    both = [
        subprocess.Popen(command, env=environment | {"RANK": str(rank)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for rank in (0, 1)
    ]
    texts = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], texts
    pair = load_checkpoint(tmp_path / "pair" / "checkpoint.pt")
    assert pair["update"] == 4
    alone = tmp_path / "alone"
    subprocess.run([*command[:-1], str(alone)], check=True, capture_output=True)
    weights = load_checkpoint(alone / "pair" / "checkpoint.pt")["model"]
    assert any(not weights[k].equal(v) for k, v in pair["model"].items())  # the other's mixtures counted
    lines = (tmp_path / "pair" / "metrics.jsonl").read_text().splitlines()
    assert sum('"valid"' in line for line in lines) == 1  # one process writes


def test_checkpoints_between_chunks_are_refused_with_several_processes(store, tmp_path, monkeypatch):
    from pse_stream.training import loop
    from pse_stream.training.parallel import World

    monkeypatch.setattr(World, "__init__", lambda self, device: vars(self).update(rank=1, size=2, device=device))
    monkeypatch.setattr(World, "close", lambda self: None)
    table = {"name": "x", "model": {"family": "gru", "width": 8}, "log": {"checkpoint_every": 3}}
    with pytest.raises(RecipeError, match=r"multiple of data\.chunks"):
        loop.train(parse_recipe(table, origin="test"), store, tmp_path)
