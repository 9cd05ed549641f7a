"""fp16, bf16 and int8 versions of an fp32 graph, and which layers lose accuracy in int8."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .int8 import relative_speed
    from .variants import AUTO, LADDER, check_precision, image_digests, speed_against, stand_in, variant
else:
    from featune.engine.doors import lazy_exports

    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = [
    "AUTO",
    "LADDER",
    "check_precision",
    "image_digests",
    "relative_speed",
    "speed_against",
    "stand_in",
    "variant",
]
