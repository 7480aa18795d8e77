"""What other compilers would say of an ONNX graph: its operators against TensorRT's list."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

TABLE = Path(__file__).with_name("tensorrt_operators.json")
# ONNX's types by TensorRT's names.
TYPES = {
    "FLOAT": "FP32",
    "FLOAT16": "FP16",
    "BFLOAT16": "BF16",
    "INT32": "INT32",
    "INT64": "INT64",
    "UINT8": "UINT8",
    "BOOL": "BOOL",
}
# Their shape or course depends on values: nothing that is static needs them.
_DYNAMIC = ("NonZero", "Loop", "If", "Scan", "Compress", "Unique", "NonMaxSuppression")
_ANY_TYPE = ("Shape", "Constant", "ConstantOfShape", "Range", "Cast")


@cache
def tensorrt_operators() -> dict[str, list[str]]:
    """Operator -> types that TensorRT's parser takes; the file names its source."""
    operators: dict[str, list[str]] = json.loads(TABLE.read_text(encoding="utf-8"))["operators"]
    return operators


def obstacles(path: str | Path) -> list[str]:
    """What keeps a graph from TensorRT: operators, types, sizes that are not known.

    Args:
        path: of an ONNX file.
    """
    import onnx

    model = onnx.shape_inference.infer_shapes(onnx.load(str(path)), strict_mode=True)
    types = {value.name: value.type.tensor_type for value in _values(model.graph)}
    found = [f"not static: {name}" for name, kind in types.items() if not _static(kind)]
    names = {i.name: onnx.TensorProto.DataType.Name(i.data_type) for i in model.graph.initializer}
    names |= {n: onnx.TensorProto.DataType.Name(kind.elem_type) for n, kind in types.items()}
    found += [f"{kind} tensor: {name}" for name, kind in names.items() if kind not in TYPES]
    table = tensorrt_operators()
    for node in model.graph.node:
        if node.op_type in _DYNAMIC:
            found.append(f"{node.op_type}: depends on values")
        elif node.domain or node.op_type not in table:
            found.append(f"{node.op_type}: not supported")
        elif node.op_type not in _ANY_TYPE:
            kind = TYPES.get(names.get(_data_input(node), ""), "")
            if kind not in table[node.op_type]:
                found.append(f"{node.op_type} of {kind or 'unknown type'}: {node.name}")
    return sorted(set(found))


def _values(graph: Any) -> Iterator[Any]:
    yield from graph.input
    yield from graph.value_info
    yield from graph.output


def _static(kind: Any) -> bool:
    """Every dimension is a number."""
    return kind.HasField("shape") and all(d.HasField("dim_value") for d in kind.shape.dim)


def _data_input(node: Any) -> str:
    """The input whose type counts: of a choice what is chosen."""
    return str(node.input[1 if node.op_type == "Where" else 0])
