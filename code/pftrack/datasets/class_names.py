"""Which classes a configuration is about, and that all of its parts agree on them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pftrack.errors import UserError
from pftrack.stated import find, same
from pftrack.structures import CLASSES

SPLITS = ("train", "val", "test", "test_tracking")


def class_names(cfg: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the labels, in their order: the datasets' ``classes``, else ``class_names``.

    Args:
        cfg: an expanded configuration.

    Raises:
        UserError: a name that is none of nuScenes', two splits with different classes, or another
            number than the model's.
    """
    names, where = cfg.get("class_names") or CLASSES, "class_names"
    stated = {f"data.{split}.classes": find(cfg, f"data.{split}.classes") for split in SPLITS}
    for place, classes in stated.items():
        if classes is None:
            continue
        _check_list(classes, place)
        if where == "class_names":
            names, where = classes, place
        elif not same(list(classes), list(names)):
            raise UserError(f"'{where}' and '{place}' in the config differ: make them equal")
    _check_list(names, where)
    unknown = [name for name in names if name not in CLASSES]
    if unknown or len(set(names)) < len(names):
        what = (
            f"'{unknown[0]}' is no class of nuScenes" if unknown else "a class stands there twice"
        )
        raise UserError(f"'{where}' in the config: {what} (known: {', '.join(CLASSES)})")
    for place, count in _numbers(cfg.get("model"), "model"):
        if count != len(names):
            raise UserError(
                f"'{place}' in the config is {count}, but '{where}' has {len(names)} names: make "
                "num_classes of the model and its parts, and the classes of all splits, agree"
            )
    return tuple(names)


def _check_list(names: Any, where: str) -> None:
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
        raise UserError(f"'{where}' in the config: a list of names expected, got {names!r:.60}")


def _numbers(node: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Every ``num_classes`` below ``path``."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            if key == "num_classes" and value is not None:
                yield f"{path}.{key}", value
            else:
                yield from _numbers(value, f"{path}.{key}")
    elif isinstance(node, (list, tuple)):
        for number, value in enumerate(node):
            yield from _numbers(value, f"{path}.{number}")
