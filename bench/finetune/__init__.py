"""What `featune finetune` does: a recipe by name or file, a search over recipes, and the folder that it leaves."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .budget import Timing, timed
    from .command import Asked, finetune_model, finetuned_model, result_lines
    from .folder import CameToNothing, Folder
    from .recipes import chosen_recipes, read_recipe, write_recipe
    from .timm_folder import MODEL, write_model
    from .trackers import tracker_names
    from .training import Candidate, Job, said_of
else:
    from featune.engine.doors import lazy_exports

    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = [
    "MODEL",
    "Asked",
    "CameToNothing",
    "Candidate",
    "Folder",
    "Job",
    "Timing",
    "chosen_recipes",
    "finetune_model",
    "finetuned_model",
    "read_recipe",
    "result_lines",
    "said_of",
    "timed",
    "tracker_names",
    "write_model",
    "write_recipe",
]
