"""A Task: labelled images with train, val and test splits. Folders, tables, and how splits are cut."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .class_names import class_order, is_order_of_grades
    from .folder_splits import SYNONYMS, describe_beside, named_folders, split_folders
    from .folders import (
        absent_files,
        class_folders,
        folder_items,
        images_lie_in,
        labelled_files,
        refuse_file,
        require_files,
        require_writable,
        where_else,
    )
    from .layouts import (
        CALLED,
        Layout,
        cut_val,
        cut_whole,
        fold_layout,
        folder_layout,
        in_order,
        read_folder_split,
        table_layout,
    )
    from .splits import VAL_OF_TRAIN, WHOLE, shared_images, straddling_groups, stratified_split
    from .tables import CLASS, PARQUET, Table, items_of_table, paths_of, read_table
    from .task import SPLITS, Task, check_metric, empty_classes, load_task, save_task
else:
    from featune.engine.doors import lazy_exports

    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = [
    "CALLED",
    "CLASS",
    "PARQUET",
    "SPLITS",
    "SYNONYMS",
    "VAL_OF_TRAIN",
    "WHOLE",
    "Layout",
    "Table",
    "Task",
    "absent_files",
    "check_metric",
    "class_folders",
    "class_order",
    "cut_val",
    "cut_whole",
    "describe_beside",
    "empty_classes",
    "fold_layout",
    "folder_items",
    "folder_layout",
    "images_lie_in",
    "in_order",
    "is_order_of_grades",
    "items_of_table",
    "labelled_files",
    "load_task",
    "named_folders",
    "paths_of",
    "read_folder_split",
    "read_table",
    "refuse_file",
    "require_files",
    "require_writable",
    "save_task",
    "shared_images",
    "split_folders",
    "straddling_groups",
    "stratified_split",
    "table_layout",
    "where_else",
]
