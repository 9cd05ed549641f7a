"""Care of the cache folder: what lies in it, what may go for room, what is damaged."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .items import KINDS, Item, Totals, contents, totals
    from .limits import EVERY, LIMIT, keep_limit, limit_kept, limit_of, looks_paused
    from .pruning import Pruned, parsed_age, parsed_size, pruned
    from .verifying import Damage, damaged_items
else:
    from featune.engine.doors import lazy_exports

    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = [
    "EVERY",
    "KINDS",
    "LIMIT",
    "Damage",
    "Item",
    "Pruned",
    "Totals",
    "contents",
    "damaged_items",
    "keep_limit",
    "limit_kept",
    "limit_of",
    "looks_paused",
    "parsed_age",
    "parsed_size",
    "pruned",
    "totals",
]
