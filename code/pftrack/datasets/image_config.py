"""What a configuration says of camera images: sizes, augmentation, normalisation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from pftrack.errors import UserError
from pftrack.frames import PIXEL_MEAN, PIXEL_STD
from pftrack.values import AtLeastOne, Positive, Share

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class AugmentationConfig:
    """``ida_aug_conf`` of the configuration files.

    Attributes:
        final_dim: (h, w) of the result.  H, W: the size of the camera images.
        resize_lim: range of the resize factor.  bot_pct_lim: share cut off the bottom.
        rot_lim: degrees.  rand_flip: mirror half of the clips.
    """

    final_dim: tuple[AtLeastOne, AtLeastOne]
    H: AtLeastOne = 900
    W: AtLeastOne = 1600
    resize_lim: tuple[Positive, Positive] = (1.0, 1.0)
    bot_pct_lim: tuple[Share, Share] = (0.0, 0.0)
    rot_lim: tuple[float, float] = (0.0, 0.0)
    rand_flip: bool = False

    @classmethod
    def from_dict(cls, conf: Mapping[str, Any]) -> AugmentationConfig:
        """Read the config section.

        Raises:
            UserError: an unknown or missing setting, or a value that is none.
        """
        unknown = set(conf) - set(cls.__dataclass_fields__)
        if unknown or "final_dim" not in conf:
            what = f"unknown setting '{min(unknown)}'" if unknown else "'final_dim' is missing"
            known = ", ".join(cls.__dataclass_fields__)
            raise UserError(f"ida_aug_conf in the config: {what} (known: {known})")
        try:
            read = msgspec.convert(dict(conf), cls)
        except msgspec.ValidationError as error:
            reason = str(error).replace("`", "")
            raise UserError(f"ida_aug_conf in the config: {reason}") from error
        for name in ("resize_lim", "bot_pct_lim", "rot_lim"):
            low, high = getattr(read, name)
            if low > high:
                raise UserError(
                    f"{name} of ida_aug_conf in the config is ({low}, {high}): the smaller first"
                )
        return read


def pixel_norm(norm: Mapping[str, Any]) -> tuple[Triple, Triple]:
    """Mean and standard deviation, BGR on the scale of grey levels, of ``img_norm_cfg``.

    Raises:
        UserError: they are no such numbers.
    """
    read = []
    for name, default, least in (("mean", PIXEL_MEAN, 0.0), ("std", PIXEL_STD, 1e-3)):
        values = norm.get(name, default)
        try:
            triple = msgspec.convert(values, Triple)
        except msgspec.ValidationError:
            triple = (-1.0, -1.0, -1.0)
        if not all(least <= value <= 255 for value in triple):
            raise UserError(
                f"img_norm_cfg.{name} in the config: three numbers (B, G, R) of at least {least:g} "
                f"and at most 255 expected, got {values!r:.80}"
            )
        read.append(triple)
    return read[0], read[1]


def pad_divisor(value: Any) -> int:
    """``size_divisor``: images are padded to multiples of it.

    Raises:
        UserError: it is no whole number of at least 1.
    """
    try:
        return msgspec.convert(value, AtLeastOne)
    except msgspec.ValidationError as error:
        raise UserError(
            f"size_divisor in the config: a whole number of at least 1 expected, got {value!r:.80}"
        ) from error
