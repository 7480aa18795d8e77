"""Which device a run gets, and what is said when the machine has not got it."""

import pytest
import torch

from pftrack.devices import choose_device, choose_devices, find_device
from pftrack.errors import UserError


@pytest.fixture
def two_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


def test_the_same_line_from_every_command(two_gpus):
    said = []
    for ask in (lambda: choose_device("cuda", 0, 3), lambda: choose_devices(3)):
        with pytest.raises(UserError) as error:
            ask()
        said.append(str(error.value))
    assert said[0] == said[1]
    assert said[0].startswith("3 GPU(s) asked for, this machine has 2: use GPUS=2, or DEVICE=cpu")


def test_devices_of_a_run(two_gpus):
    assert choose_devices(2) == ["cuda:0", "cuda:1"]
    assert choose_devices(2, "cpu") == ["cpu", "cpu"]
    assert choose_device("auto", 1, 2) == torch.device("cuda", 1)
    assert find_device("cuda:1") == torch.device("cuda", 1)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda: choose_device("tpu"), "unknown device 'tpu'"),
        (lambda: choose_devices(1, "tpu"), "unknown device 'tpu'"),
        (lambda: choose_devices(-1), "cannot run on -1 GPUs"),
        (lambda: find_device("tpu"), "no device 'tpu': use cpu"),
        (lambda: find_device("cuda:2"), "no device 'cuda:2': this machine has 2 GPUs"),
    ],
)
def test_what_there_is_not(two_gpus, ask, message):
    with pytest.raises(UserError, match=message):
        ask()
