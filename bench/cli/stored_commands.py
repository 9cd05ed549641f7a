"""`featune features`: what lies in a store of features; parse, call one function, print."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..terminal import Json, errors, json_text

if TYPE_CHECKING:
    from ..features import Geometry

features_app = typer.Typer(no_args_is_help=True, help="List, show, verify, remove and export stored features.")

Store = Annotated[Path | None, typer.Option("--store", help="Folder of features. (default: the cache's)")]
Keys = Annotated[list[str] | None, typer.Argument(metavar="[KEY]...", help="Keys, or their beginnings.")]


@features_app.command("list")
def features_list(store: Store = None, as_json: Json = False) -> None:
    """List stored features, oldest first; unfinished files last.

    Example: featune features list
    """
    with errors():
        from featune.engine.store import plain

        from ..features import stored_entries

        found = stored_entries(_root(store))
        if as_json:
            print(json_text(plain(found)))
            return
        from rich.console import Console
        from rich.table import Table

        table = Table("key", "model", "backend", "precision", "data", "rows", "width", "MB", "made")
        for each in found:
            done = f"{each.rows}" if each.state == "complete" else f"{each.rows}, unfinished"
            rows = f"{done}, {each.skipped} skipped" if each.skipped else done
            table.add_row(each.key, each.model, each.backend, each.precision, each.data, rows, str(each.width),
                          f"{each.megabytes:.1f}", each.made)  # fmt: skip
        Console(width=None if sys.stdout.isatty() else 160).print(table)


@features_app.command("show")
def features_show(
    key: Annotated[str, typer.Argument(help="A key, or its beginning.")], store: Store = None, as_json: Json = False
) -> None:
    """All that a file says of itself, as JSON: what it depends on, what was skipped, the verdict of its pass.

    Example: featune features show 3f2a
    """
    with errors():
        from ..features import full_key, record_of

        root = _root(store)
        print(json_text(record_of(root, full_key(root, key))))


@features_app.command("verify")
def features_verify(keys: Keys = None, store: Store = None, as_json: Json = False) -> None:
    """Check every byte of the named files, or of all files; exit 1 if one is damaged.

    Example: featune features verify
    """
    with errors():
        from ..features import damaged_keys, full_key, recorded_keys

        root = _root(store)
        chosen = [full_key(root, key) for key in keys or []] or recorded_keys(root)
        wrong = damaged_keys(root, chosen)
        if as_json:
            print(json_text({"checked": len(chosen), "whole": len(chosen) - len(wrong), "damaged": wrong}))
        else:
            for key in wrong:
                print(f"{key}: damaged; it is not used, and made again when asked for")
            print(f"{len(chosen) - len(wrong)} of {len(chosen)} files are whole")
        if wrong:
            raise typer.Exit(1)


@features_app.command("remove")
def features_remove(
    keys: Keys = None,
    unfinished: Annotated[bool, typer.Option("--unfinished", help="Files that are not complete.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="Every file of the store.")] = False,
    store: Store = None,
) -> None:
    """Remove features by key.

    Example: featune features remove 3f2a 91bc
    """
    with errors():
        from featune.engine.errors import BadInput
        from featune.engine.store import remove_stale

        from ..features import clear_store, full_key, remove_stored, unfinished_keys

        def say(text: str) -> None:
            print(text, file=sys.stderr)

        root = _root(store)
        chosen = [full_key(root, key) for key in keys or []]
        if not chosen and not (unfinished or everything):
            raise BadInput("nothing named to remove; give keys, --unfinished or --all")
        count, freed = clear_store(root, say) if everything else (len(chosen), remove_stored(root, chosen, say=say))
        if unfinished and not everything:
            parts = unfinished_keys(root)
            left, size = remove_stale(root)  # files that killed writes left
            count, freed = count + len(parts) + left, freed + size
            freed += remove_stored(root, parts, parts=True, say=say)
        print(f"{count} removed, {freed / 1e6:.1f} MB")


@features_app.command("export")
def features_export(
    key: Annotated[str, typer.Argument(help="A key, or its beginning.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The file to write.")],
    to: Annotated[str | None, typer.Option("--to", help="parquet, npz or safetensors. (default: by --out)")] = None,
    data: Annotated[str | None, typer.Option("--data", help="Data set of the labels. (default: the last one)")] = None,
    store: Store = None,
) -> None:
    """Write rows with their paths and labels for other programs.

    Example: featune features export 3f2a --out photos.parquet
    """
    with errors():
        from ..features import export_features, full_key, origins_of

        root = _root(store)
        found = full_key(root, key)
        origin = export_features(root, found, out, to, data)
        print(out)
        print(f"paths and labels of {origin}", file=sys.stderr)
        for other in origins_of(root, found):
            if other.content != origin.content:
                print(f"note: the same images are {other} too; --data {other.content} chooses it", file=sys.stderr)


Measured = Annotated[str, typer.Argument(help="A key, or its beginning.")]


@features_app.command("separation")
def features_separation(
    key: Measured,
    data: Annotated[str | None, typer.Option("--data", help="Data set of the labels. (default: the last one)")] = None,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """How far the classes lie apart, R^2 in cosine distance (Kornblith et al. 2021).

    Example: featune features separation 3f2a
    """
    with errors():
        from ..features import separation

        _print_geometry(separation(_root(store), key, data), as_json)


@features_app.command("compare")
def features_compare(
    one: Measured,
    other: Measured,
    plain: Annotated[bool, typer.Option("--plain", help="Without the correction for few images.")] = False,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """How alike two models or layers see the same images: linear CKA (Kornblith et al. 2019), debiased.

    Example: featune features compare 3f2a 91bc
    """
    with errors():
        from ..features import similarity

        _print_geometry(similarity(_root(store), one, other, debiased=not plain), as_json)


@features_app.command("distance")
def features_distance(one: Measured, other: Measured, store: Store = None, as_json: Json = False) -> None:
    """Squared Frechet distance of two sets of images in one model's features.

    Example: featune features distance 3f2a 91bc
    """
    with errors():
        from ..features import distance

        _print_geometry(distance(_root(store), one, other), as_json)


def _print_geometry(found: "Geometry", as_json: bool) -> None:
    from featune.engine.store import plain

    print(json_text(plain(found)) if as_json else found.line())


def _root(store: Path | None) -> Path:
    from featune.engine.store import cache_dir

    return store or cache_dir() / "features"
