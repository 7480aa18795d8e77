"""``make inspect``: what is inside a checkpoint, as data and as text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor

from pftrack.checkpoints.fit import (
    Fit,
    Shapes,
    choose_config,
    fits,
    known_models,
    meta_image_size,
    model_shapes,
)
from pftrack.checkpoints.reading import (
    count_by_module,
    find_checkpoint,
    load_checkpoint_file,
)
from pftrack.checkpoints.statistics import (
    by_module,
    check_health,
    count_values,
    difference,
    module_of,
)
from pftrack.checkpoints.weights import extract_state_dict, read_weights

META_SHOWN = (
    "epoch", "iter", "time", "seed", "exp_name", "mmcv_version", "mmdet_version",
    "mmdet3d_version", "CLASSES", "git", "git_commit", "gpus", "command", "torch_version",
)  # fmt: skip


def inspect_checkpoint(
    path: str | Path,
    config: str | None = None,
    against: str | Path | None = None,
    models: list[tuple[list[str], Shapes]] | None = None,
) -> dict[str, Any]:
    """Everything ``make inspect`` says, as plain JSON-ready data.

    Args:
        path: checkpoint, as :func:`find_checkpoint` takes it.
        config: compare with this configuration only.
        against: another checkpoint to compare with.
        models: (configurations, shapes) to try; default: every configuration file.

    Raises:
        UserError: a file cannot be read or is no checkpoint.
    """
    file = find_checkpoint(path)
    content = load_checkpoint_file(file)
    weights, remarks = read_weights(content, str(file))
    if models is None:
        models = [_one_config(config)] if config else known_models()
    candidates = fits(weights, models, str(file))
    meta = content.get("meta") or {}
    best = candidates[0] if candidates else None
    health = check_health(weights)
    result: dict[str, Any] = {
        "file": str(file),
        "bytes": file.stat().st_size,
        "entries": len(weights),
        "values": count_values(weights),
        "dtypes": _dtypes(weights),
        "meta": {key: _plain(meta[key]) for key in META_SHOWN if key in meta},
        "image_size": meta_image_size(meta),
        "remarks": remarks,
        "contains": [str(key) for key in content],
        "optimizer": _optimizer(content.get("optimizer")),
        "modules": {name: asdict(stats) for name, stats in by_module(weights).items()},
        "health": asdict(health) | {"sound": health.sound},
        "fits": [_fit(fit) for fit in candidates],
        "config": choose_config(best.configs, meta_image_size(meta), str(meta.get("exp_name")))
        if best is not None and best.exact
        else None,
    }
    if against is not None:
        other = extract_state_dict(load_checkpoint_file(against), str(against))
        result["against"] = {"file": str(against), **asdict(difference(weights, other))}
    return result


def _one_config(config: str) -> tuple[list[str], Shapes]:
    from pftrack.config import load_config

    return [config], model_shapes(load_config(config).model)


def _dtypes(weights: Mapping[str, Tensor]) -> dict[str, int]:
    names = [str(value.dtype).removeprefix("torch.") for value in weights.values()]
    return {name: names.count(name) for name in dict.fromkeys(names)}


def _plain(value: Any) -> Any:
    if isinstance(value, str | int | float | bool) or value is None:
        return value
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value.item() if hasattr(value, "item") and getattr(value, "size", 2) == 1 else str(value)


def _optimizer(state: Any) -> dict[str, Any] | None:
    if not isinstance(state, Mapping) or "param_groups" not in state:
        return None
    groups = state["param_groups"]
    return {
        "groups": len(groups),
        "parameters": len(state.get("state", {})),
        "lr": sorted({float(group["lr"]) for group in groups if "lr" in group}),
    }


def _fit(fit: Fit) -> dict[str, Any]:
    report = fit.report
    return {
        "configs": fit.configs,
        "exact": fit.exact,
        "share": fit.share,
        "loaded": len(report.loaded),
        "missing": _by_module(report.missing),
        "unexpected": _by_module(report.skipped),
        "mismatched": [
            {"entry": key, "file": list(there), "model": list(here)}
            for key, there, here in report.mismatched
        ],
    }


def _by_module(keys: list[str]) -> dict[str, int]:
    modules = [module_of(key) for key in keys]
    return {name: modules.count(name) for name in dict.fromkeys(modules)}


def render(info: dict[str, Any]) -> str:
    """The text of ``make inspect``."""
    lines = [
        f"{info['file']}  ({info['bytes'] / 1e6:.1f} MB)",
        f"  {info['entries']} entries, {info['values'] / 1e6:.3f} M values, "
        + ", ".join(f"{n} {name}" for name, n in info["dtypes"].items()),
        f"  contains: {_shorten(info['contains'])}",
    ]
    lines += [f"  {remark}" for remark in info["remarks"]]
    for key, value in info["meta"].items():
        lines.append(f"  {key}: {_shorten(value) if isinstance(value, list) else value}")
    if info["optimizer"]:
        o = info["optimizer"]
        rates = ", ".join(f"{lr:.3g}" for lr in o["lr"])
        lines.append(f"  optimizer: {o['parameters']} parameters, {o['groups']} groups, lr {rates}")
    lines += ["", *_render_fit(info), "", *_render_modules(info["modules"]), ""]
    lines += _render_health(info["health"])
    if "against" in info:
        lines += ["", *_render_difference(info["against"])]
    return "\n".join(lines)


def _shorten(names: list[Any], limit: int = 10) -> str:
    more = f", ... ({len(names)})" if len(names) > limit else ""
    return ", ".join(str(name) for name in names[:limit]) + more


def _render_fit(info: dict[str, Any]) -> list[str]:
    if not info["fits"]:
        return ["model: no configuration to compare with"]
    best = info["fits"][0]
    if best["exact"]:
        lines = [f"model: fits exactly, every key and shape: {_shorten(best['configs'])}"]
        if len(best["configs"]) > 1:
            known = f"trained at {info['image_size']}" if info["image_size"] else "size not stored"
            lines.append(f"  suggested configuration: {info['config']} ({known})")
        return lines
    lines = ["model: no configuration fits exactly; closest:"]
    for fit in info["fits"][:3]:
        lines.append(f"  {100 * fit['share']:5.1f}%  {_shorten(fit['configs'], 4)}")
    lines.append(f"  against {best['configs'][0]}: {best['loaded']} entries fit")
    for name in ("missing", "unexpected"):
        if best[name]:
            counts = ", ".join(f"{module} {n}" for module, n in best[name].items())
            lines.append(f"    {name} {sum(best[name].values())}: {counts}")
    if best["mismatched"]:
        keys = count_by_module(entry["entry"] for entry in best["mismatched"])
        lines.append(f"    of another shape {len(best['mismatched'])}: {keys}")
        for entry in best["mismatched"][:5]:
            lines.append(f"      {entry['entry']}: file {entry['file']}, model {entry['model']}")
    return lines


def _render_modules(modules: dict[str, dict[str, float]]) -> list[str]:
    width = max(len(name) for name in modules)
    lines = [f"{'module':{width}}  entries      values       norm        rms    largest"]
    for name, s in modules.items():
        lines.append(
            f"{name:{width}}  {s['entries']:7d} {s['values']:11,d} {s['norm']:10.3f} "
            f"{s['rms']:10.3g} {s['largest']:10.3g}"
        )
    return lines


def _render_health(health: dict[str, Any]) -> list[str]:
    found = {
        "NaN or infinite": health["non_finite"],
        "negative variance": health["bad_variance"],
        "zero throughout": health["zero"],
        "one value throughout": health["constant"],
        "with dead output channels": health["dead_rows"],
    }
    lines = ["weights: all finite" if health["sound"] else "weights: BROKEN"]
    for what, entries in found.items():
        if entries:
            shown = [f"{k} ({entries[k]})" if isinstance(entries, dict) else k for k in entries]
            lines.append(f"  {len(entries)} {what}: {_shorten(shown, 6)}")
    return lines


def _render_difference(d: dict[str, Any]) -> list[str]:
    lines = [f"against {d['file']}: {d['equal']} entries equal, {len(d['changed'])} changed"]
    for name, keys in (("only here", d["only_here"]), ("only there", d["only_there"])):
        if keys:
            lines.append(f"  {name} {len(keys)}: {count_by_module(keys)}")
    for key, here, there in d["shapes"]:
        lines.append(f"  another shape: {key} {list(here)} here, {list(there)} there")
    for module, change in d["by_module"].items():
        lines.append(f"  {module}: relative change {change:.3g}")
    for key, change in sorted(d["changed"].items(), key=lambda item: -item[1])[:8]:
        lines.append(f"    most changed: {key} {change:.3g}")
    return lines
