"""What a system lacks is used by its call or said; what a worker sends is bounded in sum."""

import os
import select

import pytest

from labkit.calls import wire
from labkit.sandbox import walls
from labkit.sandbox.launch import ForkServer
from labkit.sandbox.sandbox import Sandbox


def test_the_end_of_a_process_is_told_without_pythons_own_function(monkeypatch):
    monkeypatch.delattr(os, "pidfd_open", raising=False)
    child = os.fork()
    if not child:
        os._exit(0)
    watch = walls.pidfd_open(child)
    assert select.select([watch], [], [], 30)[0] == [watch]
    os.waitpid(child, 0)
    os.close(watch)
    with pytest.raises(OSError, match="No such process"):
        walls.pidfd_open(child)


def test_walls_stand_in_a_python_without_that_function(monkeypatch):
    monkeypatch.delattr(os, "pidfd_open", raising=False)
    with Sandbox("auto") as box:
        assert "time limits only" not in box.report
        assert box.server is not None


@pytest.mark.parametrize("as_root", [True, False])
def test_rights_of_root_are_told_in_capitals(monkeypatch, as_root):
    def start(server):
        server.as_root = as_root
        return ""

    monkeypatch.setattr(ForkServer, "start", start)
    with Sandbox("none") as box:
        assert ("RUNS AS ROOT" in box.report) is as_root


def test_a_heap_of_text_from_a_worker_is_refused_and_arrays_are_not(monkeypatch):
    monkeypatch.setattr(wire, "MOST_TEXT", 2000)
    many = wire.encode({"notes": list(range(1000))})
    with pytest.raises(ValueError, match="beside its arrays; return tensors"):
        wire.decode(many, recipes=False)
    assert wire.decode(many) == {"notes": list(range(1000))}
    import torch

    assert wire.decode(wire.encode(torch.ones(10_000)), recipes=False).numel() == 10_000


def test_a_cells_time_grows_where_the_machine_is_busy(monkeypatch):
    from labkit.sandbox import job

    for busy, seconds in ((1.0, 10.0), (6.0, 60.0)):
        monkeypatch.setattr(job, "patience", lambda busy=busy: busy)
        sent = wire.decode(job.Job("f", [], []).message([], "."))
        assert sent["cell_seconds"] == seconds
