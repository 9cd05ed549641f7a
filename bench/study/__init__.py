"""A study: models x tasks x regimes x seeds. Its file, its cells, how they are measured and resumed."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .checks import check_model, check_place
    from .definition import Study
    from .estimates import known_estimates, run_estimates
    from .executors import Executor, Killed, default_jobs, jobs_of, limit_threads, processes
    from .last_run import (
        images_right,
        known_plan,
        known_tasks,
        outlook_lines,
        planned,
        planned_cells,
        rights,
        rows_at,
        seconds_left,
    )
    from .measuring import brief, measured, save_failed
    from .model_speeds import known_speeds
    from .probe_command import (
        BACKEND_OF,
        Probed,
        check_file_alone,
        holds_features,
        probe_artefact,
        probe_files,
        probe_model,
        probe_tables,
        regime_of_frozen_features,
        source_of,
        study_of,
    )
    from .running import (
        Failed,
        Outlook,
        export_graphs,
        finished,
        run,
        run_whole,
        save_plan_of,
        with_failed_cells,
        with_pretrained,
    )
    from .schema import TEMPLATE, json_schema
    from .study_file import prepared, read_study
else:
    from featune.engine.doors import lazy_exports

    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = [
    "BACKEND_OF",
    "TEMPLATE",
    "Executor",
    "Failed",
    "Killed",
    "Outlook",
    "Probed",
    "Study",
    "brief",
    "check_file_alone",
    "check_model",
    "check_place",
    "default_jobs",
    "export_graphs",
    "finished",
    "holds_features",
    "images_right",
    "jobs_of",
    "json_schema",
    "known_estimates",
    "known_plan",
    "known_speeds",
    "known_tasks",
    "limit_threads",
    "measured",
    "outlook_lines",
    "planned",
    "planned_cells",
    "prepared",
    "probe_artefact",
    "probe_files",
    "probe_model",
    "probe_tables",
    "processes",
    "read_study",
    "regime_of_frozen_features",
    "rights",
    "rows_at",
    "run",
    "run_estimates",
    "run_whole",
    "save_failed",
    "save_plan_of",
    "seconds_left",
    "source_of",
    "study_of",
    "with_failed_cells",
    "with_pretrained",
]
