"""training/loop.py, recipe.py, muon.py: resumed = uninterrupted, bad input refused, things are learnt."""

from __future__ import annotations

import json

import pytest
import torch

from pse_stream.training.distil import teaching
from pse_stream.training.loop import hours_learnt, load_checkpoint, save_checkpoint, schedule, train
from pse_stream.training.muon import Muon, orthogonalised
from pse_stream.training.recipe import OptimSpec, RecipeError, load_recipe, parse_recipe

TABLE = {
    "name": "tiny",
    "model": {"family": "gru", "width": 16},
    "data": {"batch": 2, "segment_s": 0.4, "chunks": 2, "statistics_mixtures": 2},
    "optim": {"updates": 6, "warmup": 2},
    "log": {"metrics_every": 2, "checkpoint_every": 2, "validate_every": 6, "validation_mixtures": 2},
}


def recipe(**changes):
    return parse_recipe(TABLE | changes, origin="test")


def test_stopped_and_resumed_reaches_the_same_weights(store, tmp_path):
    train(recipe(), store, tmp_path / "straight")
    train(recipe(), store, tmp_path / "broken", stop_after=3)  # in the middle of carried state
    train(recipe(), store, tmp_path / "broken")
    straight, broken = (load_checkpoint(tmp_path / run / "tiny" / "checkpoint.pt") for run in ("straight", "broken"))
    assert straight["update"] == broken["update"] == 6
    for part in ("model", "average"):
        assert all(torch.equal(straight[part][k], broken[part][k]) for k in straight[part])
    lines = [json.loads(line) for line in (tmp_path / "straight" / "tiny" / "metrics.jsonl").read_text().splitlines()]
    assert [line["update"] for line in lines if "loss" in line] == [2, 4, 6] and "valid" in lines[-1]


def test_checkpoint_of_another_recipe_is_refused(store, tmp_path):
    train(recipe(), store, tmp_path, stop_after=2)
    with pytest.raises(RecipeError, match="another recipe"):
        train(recipe(model={"family": "gru", "width": 8}), store, tmp_path)


def test_a_run_starts_from_weights_in_half_precision_and_goes_on_in_single(store, tmp_path):
    run = train(recipe(), store, tmp_path)
    learnt = load_checkpoint(run / "checkpoint.pt")["average"]
    (tmp_path / "kept").mkdir()
    save_checkpoint(tmp_path / "kept" / "checkpoint.pt", {"average": {k: v.half() for k, v in learnt.items()}})
    further = train(recipe(name="further", start_from="kept"), store, tmp_path, stop_after=1)
    average = load_checkpoint(further / "checkpoint.pt")["average"]
    assert all(v.dtype is torch.float32 for v in average.values())
    distance = sum(float((average[k] - learnt[k]).norm()) for k in learnt)
    fresh = load_checkpoint(train(recipe(name="fresh", seed=9), store, tmp_path, stop_after=1) / "checkpoint.pt")
    assert distance < 0.5 * sum(float((fresh["average"][k] - learnt[k]).norm()) for k in learnt)


def test_hours_of_mixtures_add_up_over_runs_with_batches_of_another_size(store, tmp_path):
    train(recipe(), store, tmp_path)
    further = recipe(name="further", start_from="tiny", data=TABLE["data"] | {"batch": 3})
    run = train(further, store, tmp_path, stop_after=2)
    assert hours_learnt(load_checkpoint(run / "checkpoint.pt")) == pytest.approx((6 * 2 + 2 * 3) * 0.4 / 3600)


def test_a_student_learns_partly_from_a_teachers_answers(store, tmp_path):
    model = {"family": "hybrid", "width": 16, "blocks": 1, "inner": 16, "local": 4, "memory": 0, "message": 2}
    train(recipe(name="teacher", model=model | {"decoder": 4, "lookahead": 3}), store, tmp_path, stop_after=1)
    known = load_checkpoint(tmp_path / "teacher" / "checkpoint.pt")
    noisy, target = torch.randn(2, 12, 257, 2), torch.randn(2, 12, 257, 2)
    half, whole = (teaching(known, share, "cpu")(noisy, target) for share in (0.5, 1.0))
    assert torch.equal(half[:, 9:], target[:, 9:]) and not torch.allclose(whole[:, :9], target[:, :9])
    assert torch.allclose(half, (whole + target) / 2, atol=1e-6)

    def weights(**changes):
        run = train(recipe(**changes), store, tmp_path, stop_after=2)
        return load_checkpoint(run / "checkpoint.pt")["model"]["head.weight"]

    alone, nothing = weights(), weights(name="b", distil={"run": "teacher", "share": 0.0})
    taught = weights(name="c", distil={"run": "teacher"})
    assert torch.equal(alone, nothing) and not torch.allclose(alone, taught)


def test_a_teacher_that_is_not_there_is_named(store, tmp_path):
    with pytest.raises(RecipeError, match="nobody"):
        train(recipe(distil={"run": "nobody"}), store, tmp_path)
    with pytest.raises(RecipeError, match=r"distil.share is 1.5"):
        recipe(distil={"run": "x", "share": 1.5})


def test_failed_write_leaves_the_last_checkpoint(tmp_path):
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, {"update": 1})
    with pytest.raises(Exception, match=r"pickle|lambda"):
        save_checkpoint(path, {"update": lambda: 2})
    assert load_checkpoint(path)["update"] == 1
    assert list(tmp_path.iterdir()) == [path]


def test_a_batch_that_is_not_finite_is_skipped_and_counted(store, tmp_path, monkeypatch):
    from pse_stream.training.batches import Batches

    good = Batches.at

    def broken(self, update):
        noisy, target, first = good(self, update)
        return (noisy * float("nan"), target, first) if update == 2 else (noisy, target, first)

    monkeypatch.setattr(Batches, "at", broken)
    run = train(recipe(), store, tmp_path)
    assert all(torch.isfinite(v).all() for v in load_checkpoint(run / "checkpoint.pt")["model"].values())
    assert any('"skipped": 1' in line for line in (run / "metrics.jsonl").read_text().splitlines())


def test_recipes_say_what_is_wrong(tmp_path):
    with pytest.raises(RecipeError, match="no such recipe"):
        load_recipe(tmp_path / "none.toml")
    with pytest.raises(RecipeError, match="unknown"):
        parse_recipe(TABLE | {"colour": 1}, origin="test")
    with pytest.raises(RecipeError, match="unknown keys batches"):
        parse_recipe(TABLE | {"data": {"batches": 1}}, origin="test")
    with pytest.raises(RecipeError, match="family"):
        parse_recipe({"name": "x"}, origin="test")


def test_overrides_win(tmp_path):
    path = tmp_path / "r.toml"
    path.write_text('name = "a"\n[model]\nfamily = "gru"\n')
    found = load_recipe(path, ["optim.updates=7", "name=b", "mix.snr_db=[0, 5]", "model.width=8"])
    assert (found.optim.updates, found.name, found.mix.snr_db, found.model["width"]) == (7, "b", (0, 5), 8)


@pytest.mark.parametrize("kind", ["hold", "cosine"])
def test_schedule_warms_up_and_ends_at_zero(kind):
    spec = OptimSpec(updates=100, warmup=10, schedule=kind)
    rates = [schedule(spec, k) for k in range(101)]
    assert rates[0] < 0.2 and 0.9 < max(rates) <= 1.0 and rates[-1] == pytest.approx(0.0)


def test_orthogonalised_matrices_have_singular_values_near_one():
    torch.manual_seed(0)
    for shape in ((32, 80), (80, 32)):
        values = torch.linalg.svdvals(orthogonalised(torch.randn(shape)))
        assert float(values.min()) > 0.6 and float(values.max()) < 1.3


def test_muon_solves_a_linear_problem_and_refuses_vectors():
    torch.manual_seed(0)
    x, wanted, w = torch.randn(64, 16), 0.2 * torch.randn(16, 16), torch.nn.Parameter(torch.zeros(16, 16))
    optim = Muon([w], lr=0.05, weight_decay=0.0)
    losses = []
    for k in range(100):
        optim.param_groups[0]["lr"] = 0.1 * (1 - k / 100)  # updates have a fixed size, so the rate must fall
        loss = (x @ (w - wanted)).square().mean()
        loss.backward()
        optim.step()
        optim.zero_grad()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.05 * losses[0]
    with pytest.raises(ValueError, match="matrices"):
        Muon([torch.nn.Parameter(torch.zeros(3))])
