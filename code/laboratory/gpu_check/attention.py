"""Attention's kernels at the sizes of the PETR head, with a number of queries new in every call."""

from __future__ import annotations

import time
from statistics import median

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from laboratory.gpu_check.setting import Result, Setting, milliseconds
from pftrack.models.layers.attention import attend

BACKENDS = {
    "flash": SDPBackend.FLASH_ATTENTION,
    "memory-efficient": SDPBackend.EFFICIENT_ATTENTION,
    "cudnn": SDPBackend.CUDNN_ATTENTION,
    "math": SDPBackend.MATH,
}
HEADS, WIDTH = 8, 32
KEYS = 6 * 20 * 50


def attention_kernels(setting: Setting) -> Result:
    """Milliseconds of each of PyTorch's kernels, and of the one that the tracker takes."""
    result = Result({})
    precisions = (torch.float16, torch.float32) if setting.on_gpu else (torch.float32,)
    for dtype in precisions:
        for masked in (False, True):
            label = f"{str(dtype).removeprefix('torch.')}, {'mask' if masked else 'no mask'}"
            for name, backend in BACKENDS.items():
                try:
                    with sdpa_kernel(backend):
                        result.values[f"{label}, {name}"] = _seconds(setting, dtype, masked)
                except RuntimeError:
                    continue
            result.values[f"{label}, ours"] = _seconds(setting, dtype, masked)
    return result


@torch.no_grad()
def _seconds(setting: Setting, dtype: torch.dtype, masked: bool) -> str:
    """The first call, then the median of calls with other numbers of queries; ms."""
    keys = KEYS // 10 if setting.small else KEYS
    device = setting.device
    k = torch.randn(1, HEADS, keys, WIDTH, device=device, dtype=dtype)
    mask = torch.ones(1, 1, 1, keys, dtype=torch.bool, device=device) if masked else None
    seconds = []
    for i in range(setting.repetitions(30)):
        q = torch.randn(1, HEADS, 540 + i * 37 % 261, WIDTH, device=device, dtype=dtype)
        setting.synchronize()
        begun = time.perf_counter()
        attend(q, k, k, mask, 0.0)
        setting.synchronize()
        seconds.append(time.perf_counter() - begun)
    return f"{milliseconds(seconds[0])} then {milliseconds(median(seconds[1:]))}"
