"""Bytes saved for the backward pass of a three-frame clip: attention as published and as here.

    python tools/bench.py attention_memory [--sizes 320x800 640x1600] [--tracks 60]

Counts what autograd keeps (saved-tensor hooks, every storage once, parameters left out) of the PETR
head and of past and future reasoning over three frames. "As published" calls
torch.nn.MultiheadAttention with its weights returned, as the original code does. The share of the
attention is what is kept on top of the same network with the attention itself left out. Only shapes
matter, so nothing is computed: tensors are fake, attention is a GPU's. The image branch is counted
with and without recomputation, for the estimate of a whole training iteration.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from laboratory.measuring.record import Row
from pftrack.arguments import Parser

CONFIG = "projects/configs/tracking/petr/f3_q500_800x320.py"
FRAMES, CAMERAS, STRIDE = 3, 6, 16
GIB = 2**30


def run(argv: list[str]) -> list[Row]:
    """Print the table; see the module's text."""
    parser = Parser(prog="bench.py attention_memory", description=__doc__)
    parser.add_argument("--sizes", nargs="+", default=["320x800", "640x1600"], metavar="HxW")
    parser.add_argument("--tracks", type=int, default=60, help="live tracks from frame 2 on")
    args = parser.parse_args(argv)
    print(f"{'':44s}{'fp32':>12s}{'bf16 autocast':>16s}")
    rows = []
    for size in args.sizes:
        height, width = (int(n) for n in size.split("x"))
        for name, values in table(height, width, args.tracks).items():
            unit = "x  " if name.endswith("ratio") else "GiB"
            print(f"{size:10s}{name:34s}{values[0]:8.2f} {unit}{values[1]:12.2f} {unit}")
            unit = unit.strip()
            numbers = {f"fp32 {unit}": values[0], f"bf16 {unit}": values[1]}
            rows.append(Row(f"{name}, {size}", numbers))
    return rows


def table(height: int, width: int, tracks: int) -> dict[str, list[float]]:
    """What is kept, by name: GiB in float32 and under bfloat16 autocast; ratios at the end."""
    import torch

    precisions = (torch.float32, torch.bfloat16)
    rows: dict[str, list[float]] = {}
    for name, attend in (("published", "published"), ("here", "here"), ("no attention", "none")):
        counts = [decoder_bytes(height, width, tracks, p, attend) for p in precisions]
        rows[f"head and reasoning, {name}"] = [n / GIB for n in counts]
    none = rows["head and reasoning, no attention"]
    for name in ("published", "here"):
        total = rows[f"head and reasoning, {name}"]
        rows[f"attention's share, {name}"] = [a - b for a, b in zip(total, none, strict=True)]
    for name, recompute in (("all stored", False), ("blocks recomputed", True)):
        counts = [backbone_bytes(height, width, p, recompute) for p in precisions]
        rows[f"backbone and neck, {name}"] = [n / GIB for n in counts]
    for part in ("head and reasoning", "attention's share"):
        pairs = zip(rows[f"{part}, published"], rows[f"{part}, here"], strict=True)
        rows[f"{part}, ratio"] = [old / new for old, new in pairs]
    return rows


def decoder_bytes(height: int, width: int, tracks: int, precision: Any, attend: str) -> int:
    """Bytes the PETR head and the reasoning transformers save over a clip."""
    import torch

    from pftrack.structures import FrameBatch

    with _fake_model() as model:
        head, reasoner = model.pts_bbox_head, model.STReasoner
        dims, queries = model.embed_dims, model.reference_points.num_embeddings
        feats = torch.empty(1, CAMERAS, dims, height // STRIDE, width // STRIDE, requires_grad=True)
        with _attention(attend), _saved_bytes(model, precision) as saved:
            for frame in range(FRAMES):
                n = queries + (tracks if frame else 0)
                state = torch.empty(1, n, dims, requires_grad=True)
                batch = FrameBatch(
                    img=torch.empty(1, CAMERAS, 3, height, width),
                    img_shape=(height, width),
                    lidar2img=torch.empty(1, CAMERAS, 4, 4, dtype=torch.float64),
                    l2g=torch.empty(1, 4, 4),
                    timestamp=torch.empty(1),
                )
                out = head([feats], batch, state, state, torch.empty(1, n, 3, requires_grad=True))
                query = out.query_feats[0][:, None]
                history = torch.empty(n, reasoner.hist_len, dims, requires_grad=True)
                future = torch.empty(n, reasoner.fut_len, dims, requires_grad=True)
                query = reasoner.hist_temporal_transformer(query, history, query, history)[-1]
                query = query.transpose(0, 1)
                query = reasoner.spatial_transformer(query, query, query, query)
                reasoner.fut_temporal_transformer(future, history, future, history)
        return saved()


def backbone_bytes(height: int, width: int, precision: Any, recompute: bool) -> int:
    """Bytes backbone and neck save for the images of a clip, in one call."""
    import torch

    with _fake_model() as model:
        if not recompute:
            model.img_backbone.checkpoint_stages = frozenset()
        images = torch.empty(FRAMES * CAMERAS, 3, height, width)
        with _saved_bytes(model, precision) as saved:
            model.img_neck(model.img_backbone(images))
        return saved()


@contextmanager
def _fake_model() -> Iterator[Any]:
    """The model in training mode, with shapes but without values."""
    from laboratory.fake_gpu import stand_ins
    from pftrack.config import load_config
    from pftrack.registry import build_model

    cfg = load_config(CONFIG)
    with stand_ins("cpu"):
        yield build_model(cfg.model).train()


@contextmanager
def _attention(kind: str) -> Iterator[None]:
    """Attention ``published`` (weights returned), ``here``, or ``none`` (its projections only)."""
    import torch.nn.functional as F

    from pftrack.models.layers.attention import MultiheadAttention

    here = MultiheadAttention.forward

    def other(
        self: Any,
        query: Any,
        query_pos: Any = None,
        key: Any = None,
        value: Any = None,
        key_padding_mask: Any = None,
    ) -> Any:
        q = query if query_pos is None else query + query_pos
        k, v = (q if key is None else key), (query if value is None else value)
        if kind == "published":
            q, k, v = (x.transpose(0, 1) for x in (q, k, v))
            out = self.attn(q, k, v, key_padding_mask, need_weights=True)[0].transpose(0, 1)
        else:
            weights, biases = self.attn.in_proj_weight.chunk(3), self.attn.in_proj_bias.chunk(3)
            projected = zip((q, k, v), weights, biases, strict=True)
            q, k, v = (F.linear(x, weight, bias) for x, weight, bias in projected)
            out = self.attn.out_proj(q)
        return query + self.residual_dropout(out)

    if kind != "here":
        MultiheadAttention.forward = other  # type: ignore[method-assign]
    try:
        yield
    finally:
        MultiheadAttention.forward = here  # type: ignore[method-assign]


@contextmanager
def _saved_bytes(model: Any, precision: Any) -> Iterator[Callable[[], int]]:
    """Count the storages that autograd keeps inside the block, parameters left out.

    What :func:`torch.utils.checkpoint.checkpoint` recomputes is not kept, its arguments are.
    """
    import torch

    from pftrack.models.backbones import vovnet
    from pftrack.models.layers import transformer

    kept: dict[int, Any] = {}
    own = {p.untyped_storage()._cdata for p in [*model.parameters(), *model.buffers()]}

    def keep(tensor: Any) -> Any:
        kept[tensor.untyped_storage()._cdata] = tensor
        return tensor

    modules = (vovnet, transformer)
    real = transformer.checkpoint

    def counted(function: Any, *args: Any, **kwargs: Any) -> Any:
        for value in [*args, *kwargs.values()]:
            if isinstance(value, torch.Tensor):
                keep(value)
        return real(function, *args, **kwargs)

    for module in modules:
        module.checkpoint = counted  # type: ignore[attr-defined]
    half = torch.autocast("cpu", precision, enabled=precision != torch.float32)
    try:
        with half, torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            yield lambda: sum(t.untyped_storage().nbytes() for i, t in kept.items() if i not in own)
    finally:
        for module in modules:
            module.checkpoint = real  # type: ignore[attr-defined]
