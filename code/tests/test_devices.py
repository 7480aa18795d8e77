"""Which device a run gets, and what is said when the machine has not got it."""

import pytest
import torch

from pftrack import devices
from pftrack.devices import Gpus, choose_device, choose_devices, find_device, find_gpus
from pftrack.errors import UserError


@pytest.fixture
def has(monkeypatch):
    """Sets what :func:`find_gpus` finds."""

    def found(*usable, problem=""):
        monkeypatch.setattr(devices, "find_gpus", lambda: Gpus(usable, problem))

    return found


def mistake(ask):
    with pytest.raises(UserError) as error:
        ask()
    return str(error.value)


def test_the_same_line_from_every_command(has):
    has(0, 1)
    said = {mistake(lambda: choose_device("cuda", 0, 3)), mistake(lambda: choose_devices(3))}
    (line,) = said
    assert line.startswith("3 GPU(s) asked for, this machine has 2: use GPUS=2, or DEVICE=cpu")
    has()
    line = mistake(lambda: choose_device("cuda", 0, 8))
    assert line.startswith("8 GPU(s) asked for, this machine has 0: use GPUS=0 (the CPU)")


def test_devices_of_a_run(has):
    has(0, 1)
    assert choose_devices(2) == ["cuda:0", "cuda:1"]
    assert choose_devices(2, "cpu") == ["cpu", "cpu"]
    assert choose_device("auto", 1, 2) == torch.device("cuda", 1)
    assert find_device("cuda:1") == torch.device("cuda", 1)
    has()
    assert choose_device("auto") == find_device("auto") == torch.device("cpu")


def test_gpus_that_are_of_no_use_are_passed_over_or_said_never_a_silent_cpu(has):
    has(1, 2, problem="GPU 0 is from 2014: use another")
    assert choose_devices(2) == ["cuda:1", "cuda:2"]
    assert find_device("cuda") == find_device("auto") == torch.device("cuda", 1)
    assert choose_device("auto", 1, 2) == torch.device("cuda", 2)
    assert "GPU 0 is from 2014" in mistake(lambda: find_device("cuda:0"))
    assert "3 GPU(s) asked for, this machine has 2 usable: GPU 0" in mistake(
        lambda: choose_devices(3)
    )
    has(problem="its driver is too old")
    for ask in (lambda: find_device("auto"), lambda: choose_device("auto")):
        assert "this machine has 0 usable: its driver is too old" in mistake(ask)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda: choose_device("tpu"), "unknown device 'tpu'"),
        (lambda: choose_devices(1, "tpu"), "unknown device 'tpu'"),
        (lambda: choose_devices(-1), "cannot run on -1 GPUs"),
        (lambda: find_device("tpu"), "no device 'tpu': use cpu"),
        (lambda: find_device("cuda:2"), r"no device 'cuda:2': this machine has 2 GPU\(s\)"),
    ],
)
def test_what_there_is_not(has, ask, message):
    has(0, 1)
    with pytest.raises(UserError, match=message):
        ask()


@pytest.fixture
def machine(monkeypatch):
    """Two GPUs, of compute capabilities 6.1 and 9.0, as PyTorch would see them."""
    capabilities = [(6, 1), (9, 0)]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "init", lambda: None)
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: ["sm_75", "sm_90", "compute_120"])
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda i: capabilities[i])
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda i: ["GTX 1080", "H100"][i])
    return capabilities


def test_a_gpu_of_a_generation_that_pytorch_is_not_built_for(machine):
    found = find_gpus()
    assert found.usable == (1,)
    assert found.problem.startswith("GPU 0 (GTX 1080) has compute capability 6.1, PyTorch ")
    assert "use another GPU, or 'make setup CUDA=12', which reaches back to 7.0" in found.problem
    machine[0] = (8, 6)  # sm_75 is of another generation and not PTX
    assert find_gpus().usable == (1,)
    machine[:] = (7, 5), (12, 1)  # one by its own code, one by PTX
    assert find_gpus() == Gpus((0, 1))


def test_hidden_gpus_are_none_and_pytorch_without_cuda_is_said(machine, monkeypatch):
    monkeypatch.setattr(torch.version, "cuda", None)
    assert "is built without CUDA: 'make setup' installs" in find_gpus().problem
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert find_gpus() == Gpus()


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (
            "The NVIDIA driver on your system is too old (found version 12040). Please update",
            "it offers CUDA 12.4, this PyTorch is built for CUDA 13.0: install driver 580 or "
            "newer, or 'make setup CUDA=12' (for drivers from 525 on)",
        ),
        (
            "The NVIDIA driver on your system is too old (found version 11040). Please update",
            "it offers CUDA 11.4, this PyTorch is built for CUDA 13.0: install driver 580 or "
            "newer; ",
        ),
        ("No CUDA GPUs are available", "does not work: No CUDA GPUs are available: see nvidia-smi"),
    ],
)
def test_a_driver_that_does_not_do(machine, monkeypatch, error, says):
    def fail():
        raise RuntimeError(error)

    monkeypatch.setattr(torch.cuda, "init", fail)
    found = find_gpus()
    assert found.usable == () and says in found.problem
    assert found.problem.endswith("DEVICE=cpu goes without GPUs")
