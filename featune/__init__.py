"""Which pre-trained image model to take for your data: features, probes, fine-tuning, verified fast exports, studies.

>>> import featune
>>> features = featune.extract("resnet50", "photos/")
>>> print(featune.probe(features))

The names below are the public ones. `featune.export` is a package and is called as a function too.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .bench.api import correctness, extract, finetune, probe, rows
    from .bench.data import Data, open_data, prepare
    from .bench.features import FeatureTable
    from .bench.regimes import REGIMES
    from .bench.study import Probed, Study, read_study
    from .bench.tasks import Task
    from .engine.errors import FeatuneError
    from .engine.finetune import Finetuned, Recipe
    from .engine.images import Labelled
    from .engine.metrics import METRICS
    from .engine.models import ModelSpec, feature_model, spec_from_module, spec_from_string
else:
    from .engine.doors import lazy_exports

    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = [
    "METRICS",
    "REGIMES",
    "Data",
    "FeatuneError",
    "FeatureTable",
    "Finetuned",
    "Labelled",
    "ModelSpec",
    "Probed",
    "Recipe",
    "Study",
    "Task",
    "correctness",
    "extract",
    "feature_model",
    "finetune",
    "open_data",
    "prepare",
    "probe",
    "read_study",
    "rows",
    "spec_from_module",
    "spec_from_string",
]
