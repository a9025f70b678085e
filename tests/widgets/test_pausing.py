"""A search that waits between two steps: nothing is lost, no randomness is moved, it can be given up."""

import threading
import time

import pytest
import torch

from labkit.core.locks import lock_of
from labkit.style import invert_result
from labkit.widgets.kit.pausing import Run


def inversion(model, features, frames):
    def job(should_stop):
        return invert_result(
            model, "0", features, side=8, steps=6, on_frame=lambda step, _: frames.append(step), every=1,
            progress=lambda _: None, should_stop=should_stop,
        )  # fmt: skip

    return job


@pytest.fixture
def net():
    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU()).eval()


def test_what_waited_ends_as_what_did_not(net):
    features = torch.rand(1, 4, 6, 6)
    wanted, frames = invert_result(net, "0", features, side=8, steps=6), []
    run = Run(inversion(net, features, frames), net)
    while len(frames) < 3:
        assert run.advance()
    time.sleep(0.05)
    assert len(frames) == 3  # it waits
    while run.advance():
        pass
    assert run.done
    assert torch.equal(run.result.images, wanted.images)
    assert torch.equal(run.result.losses, wanted.losses)
    assert run.advance() is False


def test_it_does_not_give_back_an_old_randomness(net):
    """A method gives back the randomness that it found, and a run that waited found an old one."""
    frames = []
    run = Run(inversion(net, torch.rand(1, 4, 6, 6), frames), net)
    while len(frames) < 2:
        run.advance()
    torch.manual_seed(5)
    wanted = torch.rand(1)
    torch.manual_seed(5)
    while run.advance():
        pass
    assert torch.equal(torch.rand(1), wanted)


def test_given_up_it_ends_and_leaves_the_model_free(net):
    frames = []
    run = Run(inversion(net, torch.rand(1, 4, 6, 6), frames), net)
    while len(frames) < 2:
        run.advance()
    run.close()
    run._thread.join(10)
    assert not run._thread.is_alive()
    assert not run.done
    assert run.advance() is False
    free = []
    other = threading.Thread(target=lambda: [free.append(1) for _ in [0] if lock_of(net).__enter__() is None])
    other.start()
    other.join(10)
    assert free == [1]
    assert not net._forward_pre_hooks


def test_what_the_job_raises_is_raised_by_who_waits(net):
    run = Run(inversion(net, torch.rand(1, 4, 5, 5), []), net)
    with pytest.raises(ValueError, match="features must have the shape"):
        while run.advance():
            pass
