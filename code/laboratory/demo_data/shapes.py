"""Bodies of the ten classes, built to fill a box of a given size.

Every body stays a few centimetres inside of its annotation box, so that the lidar points on it
are counted by the box and the box encloses its pixels.
"""

# ruff: noqa: E741  (w, l, h are the width, length and height of a box)

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from laboratory.demo_data.mesh import Colour, Mesh, MeshBuilder

MARGIN = 0.03  # m between the box and the body
GLASS: Colour = (70, 52, 40)
DARK: Colour = (28, 28, 30)
SKIN: Colour = (140, 170, 215)
BACKPACK: Colour = (40, 35, 190)
# What shines is brighter than any light makes a face (renderer.Light.shade).
HEADLIGHTS: dict[bool, Colour] = {False: (125, 125, 120), True: (470, 500, 500)}  # lit or not
TAIL_LIGHTS: dict[bool, Colour] = {False: (35, 30, 90), True: (60, 50, 480)}
INDICATOR: Colour = (0, 330, 500)

CAR_COLOURS: list[Colour] = [
    (190, 190, 195), (60, 60, 62), (230, 232, 235), (150, 70, 35), (45, 40, 165), (120, 115, 110),
    (85, 105, 60), (60, 130, 175),
]  # fmt: skip
SHIRT_COLOURS: list[Colour] = [
    (60, 60, 200), (200, 120, 40), (70, 170, 90), (40, 190, 230), (200, 200, 205), (150, 60, 140),
]  # fmt: skip
BUS_COLOURS: list[Colour] = [(60, 190, 235), (55, 60, 190), (170, 120, 40)]

# width, length, height in metres: means over nuScenes are close to these
SIZES = {
    "car": (1.95, 4.6, 1.72),
    "truck": (2.5, 7.2, 3.1),
    "bus": (2.9, 11.2, 3.5),
    "trailer": (2.6, 9.5, 3.7),
    "motorcycle": (0.8, 2.1, 1.55),
    "bicycle": (0.65, 1.75, 1.75),
    "pedestrian": (0.66, 0.72, 1.76),
    "construction_vehicle": (2.7, 6.4, 3.2),
    "traffic_cone": (0.42, 0.42, 1.0),
    "barrier": (0.55, 2.4, 1.05),
}


@dataclass(frozen=True)
class Signals:
    """What shows of an object's motion.

    Attributes:
        stride: of people, -1..1: which leg is in front and how far.
        lit: a vehicle's head and tail lights are on: it is in traffic, not parked.
        braking: its brake lights are on.
        turning: its indicators: 1 left, -1 right, 0 off.
    """

    stride: float = 0.0
    lit: bool = True
    braking: bool = False
    turning: int = 0


AT_REST = Signals()


def _pick(rng: np.random.Generator, colours: list[Colour]) -> Colour:
    return colours[int(rng.integers(len(colours)))]


def _lamps(
    b: MeshBuilder,
    signals: Signals,
    u: tuple[float, float],
    front: tuple[float, float] | None,
    back: tuple[float, float] | None,
) -> MeshBuilder:
    """Head lights, tail lights and indicators on the corners of the last hexahedron.

    Args:
        u: outer and inner edge of the right lamps, share of the width from the right.
        front, back: their lower and upper edge, share of the height; None: has none there.
    """
    for side, name in ((1, "left"), (-1, "right")):
        across = u if side == -1 else (1 - u[1], 1 - u[0])
        turning = signals.turning == side
        if front:
            colour = INDICATOR if turning else HEADLIGHTS[signals.lit]
            b.panel("front", across, front, colour).panel(name, (0.93, 1.0), front, colour)
        if back:
            colour = INDICATOR if turning else TAIL_LIGHTS[signals.lit]
            b.panel("back", across, back, colour).panel(name, (0.0, 0.07), back, colour)
    if back and signals.braking:
        b.panel("back", (u[1] + 0.03, 0.97 - u[1]), back, TAIL_LIGHTS[True])
    return b


def _car(w: float, l: float, h: float, rng: np.random.Generator, signals: Signals) -> MeshBuilder:
    paint = _pick(rng, CAR_COLOURS)
    b = MeshBuilder()
    b.hexahedron((-0.47 * l, 0.47 * l), (-0.44 * w, 0.44 * w), (0.14, 0.36), DARK)
    b.hexahedron((-0.5 * l, 0.5 * l), (-0.47 * w, 0.47 * w), (0.3, 0.56 * h), paint, (0.05, 0.1, 0))
    b.panel("front", (0.27, 0.73), (0.3, 0.75), DARK).panel(
        "back", (0.36, 0.64), (0.12, 0.4), (215, 215, 215)
    )
    _lamps(b, signals, (0.03, 0.24), (0.5, 0.88), (0.5, 0.92))
    b.wheels((-0.3 * l, 0.31 * l), 0.485 * w, 0.33)
    hood, trunk = (0.24 * l, 0.42 * l) if rng.random() < 0.6 else (0.24 * l, 0.48 * l)
    b.hexahedron(
        (-trunk, hood), (-0.45 * w, 0.45 * w), (0.56 * h, h), paint, (0.1 * l, 0.15 * l, 0.1 * w)
    )  # fmt: skip
    b.panels("left", 2, (0.06, 0.94), (0.12, 0.85), GLASS, 0.9)
    b.panels("right", 2, (0.06, 0.94), (0.12, 0.85), GLASS, 0.9)
    return b.panel("front", (0.06, 0.94), (0.1, 0.9), GLASS).panel(
        "back", (0.08, 0.92), (0.15, 0.88), GLASS
    )


def _truck(w: float, l: float, h: float, rng: np.random.Generator, signals: Signals) -> MeshBuilder:
    paint = _pick(rng, [(45, 45, 190), (175, 95, 30), (60, 150, 60), (35, 120, 225)])
    cargo = _pick(rng, [(228, 228, 226), (205, 215, 222)])
    b = MeshBuilder()
    b.hexahedron((-0.49 * l, 0.45 * l), (-0.4 * w, 0.4 * w), (0.45, 0.95), DARK)
    b.wheels((-0.34 * l, -0.2 * l, 0.33 * l), 0.47 * w, 0.5)
    b.hexahedron((-0.5 * l, 0.2 * l), (-0.5 * w, 0.5 * w), (0.9, h), cargo)
    b.panel("left", (0.08, 1.0), (0.0, 0.1), paint).panel("right", (0.08, 1.0), (0.0, 0.1), paint)
    b.panel("back", (0.04, 0.48), (0.16, 0.94), (180, 180, 180)).panel(
        "back", (0.52, 0.96), (0.16, 0.94), (180, 180, 180)
    )
    _lamps(b, signals, (0.03, 0.2), None, (0.02, 0.13))
    b.hexahedron(
        (0.24 * l, 0.5 * l), (-0.47 * w, 0.47 * w), (0.5, 0.82 * h), paint, (0, 0.12, 0.04)
    )
    b.panel("front", (0.06, 0.94), (0.5, 0.9), GLASS).panel(
        "front", (0.26, 0.74), (0.12, 0.35), DARK
    )
    _lamps(b, signals, (0.03, 0.23), (0.06, 0.24), None)
    return b.panel("left", (0.3, 0.9), (0.5, 0.9), GLASS).panel(
        "right", (0.3, 0.9), (0.5, 0.9), GLASS
    )


def _bus(w: float, l: float, h: float, rng: np.random.Generator, signals: Signals) -> MeshBuilder:
    paint = _pick(rng, BUS_COLOURS)
    b = MeshBuilder()
    b.hexahedron((-0.49 * l, 0.49 * l), (-0.45 * w, 0.45 * w), (0.2, 0.42), DARK)
    b.hexahedron(
        (-0.5 * l, 0.5 * l),
        (-0.47 * w, 0.47 * w),
        (0.38, h),
        paint,
        colours={"top": (225, 225, 225)},
    )
    for side in ("left", "right"):
        b.panels(side, 7, (0.03, 0.97), (0.45, 0.84), GLASS, 0.9)
        b.panel(side, (0.0, 1.0), (0.26, 0.33), (235, 235, 235))
    b.panel("front", (0.04, 0.96), (0.36, 0.82), GLASS).panel(
        "front", (0.2, 0.8), (0.86, 0.96), (40, 170, 250)
    )
    b.panel("back", (0.12, 0.88), (0.5, 0.82), GLASS)
    _lamps(b, signals, (0.03, 0.2), (0.06, 0.18), (0.06, 0.24))
    return b.wheels((-0.28 * l, 0.33 * l), 0.485 * w, 0.5)


def _trailer(
    w: float, l: float, h: float, rng: np.random.Generator, signals: Signals
) -> MeshBuilder:
    paint = _pick(rng, [(60, 80, 150), (110, 90, 60), (80, 120, 90)])
    rib: Colour = (int(paint[0] * 0.7), int(paint[1] * 0.7), int(paint[2] * 0.7))
    b = MeshBuilder()
    b.hexahedron((-0.49 * l, 0.49 * l), (-0.35 * w, 0.35 * w), (0.75, 1.1), DARK)
    b.hexahedron((0.3 * l, 0.33 * l), (-0.3 * w, 0.3 * w), (0.03, 0.8), DARK)
    b.wheels((-0.4 * l, -0.29 * l, -0.18 * l), 0.47 * w, 0.5)
    b.hexahedron((-0.5 * l, 0.5 * l), (-0.49 * w, 0.49 * w), (1.05, h), paint)
    b.panels("left", 9, (0, 1), (0.12, 0.95), rib, 0.35).panels(
        "right", 9, (0, 1), (0.12, 0.95), rib, 0.35
    )
    b.panels("back", 2, (0, 1), (0.13, 0.95), rib, 0.85)
    return _lamps(b, signals, (0.03, 0.2), None, (0.01, 0.1))


def _rider(b: MeshBuilder, x: float, seat: float, top: float, shirt: Colour, head: Colour) -> None:
    """A seated person between the seat height and the top of the box."""
    neck = top - 0.27
    b.hexahedron((x - 0.02, x + 0.3), (-0.17, 0.17), (seat - 0.4, seat), (70, 60, 50))
    b.hexahedron((x - 0.17, x + 0.2), (-0.21, 0.21), (seat, neck), shirt, (0.1, -0.02, 0.03))
    b.prism((x + 0.12, 0.0), (neck, top), (0.12, 0.1), head)


def _motorcycle(
    w: float, l: float, h: float, rng: np.random.Generator, signals: Signals
) -> MeshBuilder:
    paint = _pick(rng, [(30, 30, 200), (170, 60, 20), (30, 140, 230)])
    b = MeshBuilder()
    b.hexahedron((-0.47 * l, -0.2 * l), (-0.08, 0.08), (0.05, 0.6), DARK).wheels(
        (-0.33 * l,), 0.09, 0.32
    )
    b.hexahedron((0.2 * l, 0.47 * l), (-0.07, 0.07), (0.05, 0.6), DARK).wheels(
        (0.33 * l,), 0.08, 0.32
    )
    b.hexahedron((-0.3 * l, 0.3 * l), (-0.17, 0.17), (0.3, 0.86), paint, (0.0, 0.12, 0.04))
    b.panel("front", (0.15, 0.85), (0.55, 0.95), HEADLIGHTS[signals.lit])
    b.hexahedron((0.17 * l, 0.22 * l), (-0.48 * w, 0.48 * w), (0.86, 0.98), DARK)
    b.hexahedron((-0.49 * l, -0.3 * l), (-0.14, 0.14), (0.6, 0.84), DARK).panel(
        "back", (0.1, 0.9), (0.1, 0.9), TAIL_LIGHTS[signals.lit]
    )
    if signals.turning:
        outer = (0.0, 0.5) if signals.turning < 0 else (0.5, 1.0)
        b.panel("back", outer, (0.0, 1.0), INDICATOR)
    _rider(b, -0.08 * l, 0.84, h, DARK, (40, 40, 220))
    return b


def _bicycle(w: float, l: float, h: float, rng: np.random.Generator) -> MeshBuilder:
    b = MeshBuilder()
    for x in (-0.3 * l, 0.3 * l):
        b.hexahedron((x - 0.3, x + 0.3), (-0.025, 0.025), (0.06, 0.62), (60, 60, 60))
        b.wheels((x,), 0.035, 0.33, hub=(190, 190, 190))
    b.hexahedron((-0.25 * l, 0.25 * l), (-0.03, 0.03), (0.5, 0.72), (60, 200, 230))
    b.hexahedron((0.24 * l, 0.29 * l), (-0.46 * w, 0.46 * w), (0.92, 1.0), DARK)
    _rider(
        b,
        -0.12 * l,
        0.9,
        h,
        _pick(rng, [(90, 230, 190), (60, 200, 250), (235, 190, 60)]),
        (235, 235, 235),
    )
    return b


def _pedestrian(
    w: float, l: float, h: float, rng: np.random.Generator, signals: Signals
) -> MeshBuilder:
    shirt, trousers = (
        _pick(rng, SHIRT_COLOURS),
        _pick(rng, [(70, 50, 40), (40, 40, 42), (95, 85, 75)]),
    )
    step = 0.5 * l - 0.13
    b = MeshBuilder()
    for side in (-1, 1):
        x = side * signals.stride * step
        b.hexahedron(
            (x - 0.1, x + 0.1),
            (0.11 * side - 0.085, 0.11 * side + 0.085),
            (0.02, 0.48 * h),
            trousers,
            (0.1 * 0 - x * 0.6, x * 0.6, 0.0),
        )
        arm = side * (0.5 * w - 0.06)
        b.hexahedron(
            (-x * 0.6 - 0.07, -x * 0.6 + 0.07),
            (arm - 0.055, arm + 0.055),
            (0.45 * h, 0.8 * h),
            shirt,
            (x * 0.6, -x * 0.6, 0.0),
        )
    b.hexahedron((-0.13, 0.13), (-0.21, 0.21), (0.46 * h, 0.84 * h), shirt, (0.02, 0.02, 0.04))
    b.panel("front", (0.25, 0.75), (0.05, 0.95), (235, 238, 240))  # an open jacket
    b.hexahedron((-0.28, -0.12), (-0.17, 0.17), (0.52 * h, 0.82 * h), BACKPACK, (0.03, 0, 0.02))
    b.prism((0.02, 0.0), (0.85 * h, 0.965 * h), (0.1, 0.12), SKIN)
    return b.prism(
        (-0.01, 0.0),
        (0.95 * h, h),
        (0.125, 0.09),
        _pick(rng, [(30, 40, 60), (50, 90, 130), (25, 25, 25)]),
    )


def _construction_vehicle(w: float, l: float, h: float, rng: np.random.Generator) -> MeshBuilder:
    paint: Colour = (25, 165, 240)
    b = MeshBuilder()
    for y in (-0.36 * w, 0.36 * w):
        b.hexahedron(
            (-0.45 * l, 0.22 * l),
            (y - 0.13 * w, y + 0.13 * w),
            (0.03, 0.9),
            DARK,
            (0.25, 0.25, 0.0),
        )
        b.panel("left" if y > 0 else "right", (0.08, 0.92), (0.3, 0.7), (75, 75, 80))
    b.hexahedron((-0.5 * l, 0.15 * l), (-0.46 * w, 0.46 * w), (0.92, 0.58 * h), paint)
    b.panels("back", 6, (0.05, 0.95), (0.1, 0.9), DARK, 0.5)
    for side in ("left", "right"):
        b.panels(side, 4, (0.05, 0.4), (0.25, 0.75), DARK, 0.6)
        b.panel(side, (0.5, 0.95), (0.45, 0.6), (240, 240, 240))
    b.hexahedron(
        (-0.16 * l, 0.14 * l), (0.02 * w, 0.44 * w), (0.58 * h, h), paint, (0.05, 0.15, 0.05)
    )
    for face in ("left", "right", "front", "back"):
        b.panel(face, (0.1, 0.9), (0.2, 0.85), GLASS)
    b.hexahedron(
        (0.1 * l, 0.34 * l), (-0.3 * w, -0.12 * w), (0.55 * h, 0.96 * h), paint, (0.9, -0.1, 0.0)
    )
    b.hexahedron(
        (0.33 * l, 0.42 * l), (-0.28 * w, -0.14 * w), (0.2 * h, 0.94 * h), paint, (0.0, 0.2, 0.0)
    )
    return b.hexahedron(
        (0.3 * l, 0.5 * l), (-0.46 * w, 0.1 * w), (0.05, 0.32 * h), (80, 90, 95), (0.3, 0.0, 0.0)
    )


def _traffic_cone(w: float, l: float, h: float, rng: np.random.Generator) -> MeshBuilder:
    orange: Colour = (20, 105, 250)
    b = MeshBuilder().hexahedron((-0.5 * l, 0.5 * l), (-0.5 * w, 0.5 * w), (0.02, 0.09), DARK)
    radius = 0.44 * w
    b.prism((0, 0), (0.09, 0.42 * h), (radius, 0.68 * radius), orange)
    b.prism((0, 0), (0.42 * h, 0.66 * h), (0.68 * radius, 0.45 * radius), (245, 245, 245))
    return b.prism((0, 0), (0.66 * h, h), (0.45 * radius, 0.2 * radius), orange)


def _barrier(w: float, l: float, h: float, rng: np.random.Generator) -> MeshBuilder:
    b = MeshBuilder()
    b.hexahedron(
        (-0.5 * l, 0.5 * l),
        (-0.49 * w, 0.49 * w),
        (0.03, 0.4 * h),
        (215, 215, 215),
        (0.0, 0.0, 0.15),
    )
    b.hexahedron(
        (-0.5 * l, 0.5 * l),
        (-0.49 * w + 0.15, 0.49 * w - 0.15),
        (0.4 * h, h),
        (215, 215, 215),
        (0, 0, 0.03),
    )
    for side in ("left", "right"):
        b.panels(side, 4, (0, 1), (0.15, 0.8), (40, 40, 210), 0.5)
    return b


_BODIES: dict[str, Callable[..., MeshBuilder]] = {
    "car": _car,
    "truck": _truck,
    "bus": _bus,
    "trailer": _trailer,
    "motorcycle": _motorcycle,
    "bicycle": _bicycle,
    "pedestrian": _pedestrian,
    "construction_vehicle": _construction_vehicle,
    "traffic_cone": _traffic_cone,
    "barrier": _barrier,
}


SIGNALLING = ("car", "truck", "bus", "trailer", "motorcycle", "pedestrian")


def build_body(
    name: str, size: tuple[float, float, float], seed: int, signals: Signals = AT_REST
) -> Mesh:
    """The body of an object.

    Args:
        name: one of the ten classes.
        size: width, length, height of the annotation box, m.
        seed: colours and style; the same seed gives the same body.
        signals: what shows of its motion.
    """
    rng = np.random.default_rng(seed)
    w, l, h = (value - 2 * MARGIN for value in size)
    extra = (signals,) if name in SIGNALLING else ()
    return _BODIES[name](w, l, h + MARGIN, rng, *extra).build()
