"""A static step recorded once as a CUDA graph: one launch for each frame."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Tensors = dict[str, Tensor]
WARM_UP = 3  # calls before recording: they compile, choose kernels and fill caches


class GraphedStep:
    """Calls a step by replaying its recording, on fixed buffers.

    The recording ends by copying the memory it leaves to where it reads it, so that the memory
    stays on the device and is not handed in.

    Args:
        step: see :class:`StaticStep`, on a GPU.
        frame, memory: inputs like those to come; the stream begins with ``memory``.
    """

    def __init__(
        self,
        step: Callable[[Tensors, Tensors], tuple[Tensors, Tensors]],
        frame: Tensors,
        memory: Tensors,
    ) -> None:
        self._frame = {name: value.clone() for name, value in frame.items()}
        self._memory = {name: value.clone() for name, value in memory.items()}
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.no_grad(), torch.cuda.stream(aside):
            for _ in range(WARM_UP):
                step(self._frame, self._memory)
        torch.cuda.current_stream().wait_stream(aside)
        self._graph = torch.cuda.CUDAGraph()
        with torch.no_grad(), torch.cuda.graph(self._graph):
            self._report, left = step(self._frame, self._memory)
            for name, value in left.items():
                self._memory[name].copy_(value)

    def __call__(self, frame: Tensors) -> Tensors:
        """The report of the next frame; its tensors are valid until the next call.

        Args:
            frame: on any device.
        """
        for name, value in frame.items():
            self._frame[name].copy_(value, non_blocking=True)
        self._graph.replay()
        return self._report
