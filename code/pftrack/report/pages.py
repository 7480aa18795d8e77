"""The report's pages: templates, style and script in each, nothing from elsewhere."""

from __future__ import annotations

import base64
import hashlib
import json
import shlex
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from pftrack.evaluation.text import format_metric

_HERE = Path(__file__).parent
_SCRIPTS = ("scene", "bird_view", "cameras", "details", "main")  # in the order of use


def render(template: str, scenes: dict[str, dict[str, Any]], **values: Any) -> str:
    """A page as text. Whatever comes from results files is data in it and never markup or script.

    Args:
        template: name of a file beside this one.
        scenes: what the explorer shows, by scene name (:func:`scene_data` and ``sensors``).
    """
    script, policy = _script_and_policy()
    return (
        template_environment()
        .get_template(template)
        .render(
            **values,
            scenes={name: _embedded(data) for name, data in scenes.items()},
            script=Markup(script),
            policy=policy,
        )
    )


@cache
def template_environment() -> jinja2.Environment:
    """The templates beside this file, with the filters ``metric``, ``number`` and ``shown``."""
    env = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    env.filters["metric"] = lambda value, name: metric_text(name, value)
    env.filters["number"] = lambda value, digits=3: "–" if value is None else f"{value:.{digits}f}"
    env.filters["shown"] = shlex.quote
    return env


def metric_text(name: str, value: float | None) -> str:
    """A metric with its usual number of digits; a dash for None."""
    return "–" if value is None else format_metric(name, value)


@cache
def _script_and_policy() -> tuple[str, str]:
    """The explorer's script, and a policy under which the browser runs this one and no other."""
    parts = [(_HERE / "explorer" / f"{n}.js").read_text(encoding="utf-8") for n in _SCRIPTS]
    script = '"use strict";\n{\n' + "\n".join(parts) + "}\n"
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    return script, policy


def _embedded(data: dict[str, Any]) -> Markup:
    """JSON for a script element, which nothing in it can end."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    for character in "<>&":  # other characters beyond ASCII are escaped already
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)
