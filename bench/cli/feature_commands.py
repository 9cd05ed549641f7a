"""`featune extract`, `featune probe` and `featune features`: parse, call one function, print."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from .terminal import InChans, Json, Quiet, errors, progress_of

FEATURES = "Features"
BACKEND = "onnxruntime, torch, tensorrt or onnxruntime-tensorrt. (default: onnxruntime)"
app = typer.Typer()
features_app = typer.Typer(no_args_is_help=True, help="List, show, verify, remove and export stored features.")
app.add_typer(features_app, name="features", rich_help_panel=FEATURES)

Store = Annotated[Path | None, typer.Option("--store", help="Folder of features. (default: the cache's)")]
Keys = Annotated[list[str] | None, typer.Argument(metavar="[KEY]...", help="Keys, or how they begin.")]


@app.command(rich_help_panel=FEATURES)
def extract(
    models: Annotated[str, typer.Argument(metavar="MODEL[,MODEL...]", help="timm names, or exported files.")],
    data: Annotated[str, typer.Argument(help="Folder, CSV, task, torch/NAME, hfds/OWNER/NAME or wds/PATTERN.")],
    split: Annotated[str | None, typer.Option(help="Where the data has splits; all joins them.")] = None,
    input_key: Annotated[str | None, typer.Option(help="Column or extension of the image.")] = None,
    target_key: Annotated[str | None, typer.Option(help="Column or field of the label; '' for none.")] = None,
    class_map: Annotated[Path | None, typer.Option(help="Class names in order, or a pickled {name: number}.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="The first so many images.")] = None,
    root: Annotated[Path | None, typer.Option(help="Where named data lie. (default: data)")] = None,
    download: Annotated[bool, typer.Option("--download", help="Fetch named data that are not there.")] = False,
    in_chans: InChans = None,
    backend: Annotated[str | None, typer.Option(help=BACKEND)] = None,
    precision: Annotated[str | None, typer.Option(help="fp32, fp16, bf16, int8, or auto. (default: fp32)")] = None,
    device: Annotated[str, typer.Option("--device", help="cpu, cuda or cuda:N.")] = "cpu",
    checkpoint: Annotated[Path | None, typer.Option(help="Local weights, or a fine-tuned run's.")] = None,
    untrained: Annotated[bool, typer.Option("--untrained", help="Random weights; nothing is fetched.")] = False,
    decoder: Annotated[str, typer.Option(help="fast, or exact: Pillow's own resizing.")] = "fast",
    on_error: Annotated[str, typer.Option(help="stop, with all bad files listed, or skip them.")] = "stop",
    batch: Annotated[int | None, typer.Option(min=1, help="Images at a time. (default: searched)")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Threads. (default: searched)")] = None,
    keep_views: Annotated[bool, typer.Option("--keep-views", help="Store decoded images for later passes.")] = False,
    max_pixels: Annotated[int | None, typer.Option(help="Refuse larger images. (default: 178,956,970)")] = None,
    allow_fallback: Annotated[bool, typer.Option("--allow-fallback", help="Accept another provider.")] = False,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Also write .npz, .parquet or .safetensors.")] = None,
    store: Store = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Write a data set's features, and say what limited the speed. Killed, it goes on where it was.

    Several models share one pass: each image is decoded once.

    Example: featune extract resnet50,vit_small_patch16_224 photos/ --out photos.npz
    """
    with errors():
        from featune.engine.features import Options, check_on_error
        from featune.engine.images import check_decoder, limit_pixels
        from featune.engine.store import check_writable
        from featune.export.commands import RunSettings

        from ..data import Request
        from ..features import Models, exported_to, extract_models, format_of

        if max_pixels is not None:
            limit_pixels(max_pixels)
        if out is not None:
            format_of(out)  # before the work
            check_writable(out)
        request = Request(data, split, input_key, target_key, class_map, limit, root, download, in_chans)
        how = RunSettings(
            backend or RunSettings.backend,
            device,
            precision or RunSettings.precision,
            check_decoder(decoder),
            allow_fallback,
        )
        options = Options(batch, workers, device, check_on_error(on_error), keep_views)
        chosen = Models(models.split(","), checkpoint, untrained, backend, precision)
        found, made = extract_models(chosen, request, how, options, store=store, progress=progress_of(quiet))
        files = exported_to(made, out) if out else {each.key: str(each.file) for each in made}
        if as_json:
            notes = {"notes": list(found.notes)}
            print(json.dumps([each.record() | {"out": files[each.key]} | notes for each in made], indent=1))
            return
        for note in found.notes:
            print(f"note: {note}")
        for each in made:
            count, width = each.features.rows.shape
            print(f"{each.model}: {count} x {width}, key {each.key}: {files[each.key]}")
        for _, path, reason in made[0].features.skipped:
            print(f"skipped: {path}: {reason}")
        print("\n".join(made[0].features.verdict.lines()))


@app.command(rich_help_panel=FEATURES)
def probe(
    model: Annotated[str, typer.Argument(metavar="MODEL|FEATURES", help="A timm name, or a folder of train.npz, ...")],
    task: Annotated[str | None, typer.Argument(help="Folder, CSV, prepared task or data string.")] = None,
    metric: Annotated[str, typer.Option(help="Of a folder or table; a prepared task has its own.")] = "top1",
    regime: Annotated[str, typer.Option(help="probe, knn, ridge or means.")] = "probe",
    shots: Annotated[int | None, typer.Option(min=1, help="Of each class in training, drawn by the seed.")] = None,
    standardise: Annotated[bool, typer.Option("--standardise", help="Scale each feature by its spread.")] = False,
    seed: Annotated[int, typer.Option(help="Of splits that are cut, and of draws.")] = 0,
    splits: Annotated[str, typer.Option(help="As test=validation; of a data string.")] = "",
    input_key: Annotated[str | None, typer.Option(help="Column or extension of the image, of a data string.")] = None,
    target_key: Annotated[str | None, typer.Option(help="Column or field of the label, of a data string.")] = None,
    root: Annotated[Path | None, typer.Option(help="Where named data lie. (default: data)")] = None,
    download: Annotated[bool, typer.Option("--download", help="Fetch named data that are not there.")] = False,
    in_chans: InChans = None,
    backend: Annotated[str, typer.Option(help="onnxruntime, torch, tensorrt or onnxruntime-tensorrt.")] = "onnxruntime",
    device: Annotated[str, typer.Option("--device", help="cpu, cuda or cuda:N.")] = "cpu",
    checkpoint: Annotated[Path | None, typer.Option(help="Local weights, or a fine-tuned run's.")] = None,
    untrained: Annotated[bool, typer.Option("--untrained", help="Random weights; nothing is fetched.")] = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Score frozen features on a task: fitted on train, chosen on val, measured once on test, with its interval.

    FEATURES are files that `featune extract MODEL DATA --split SPLIT --out FEATURES/SPLIT.npz` wrote.

    Example: featune probe resnet50 images/flowers
    """
    with errors():
        import dataclasses

        from featune.engine.errors import BadInput
        from featune.engine.runners import require_device
        from featune.engine.store import plain
        from featune.export.commands import spec_of_model

        from ..data import Request, parsed_splits
        from ..regimes import ProbeSetting, regime_named
        from ..study import holds_features, probe_files, probe_model, source_of, study_of

        setting = regime_named(regime).default
        if isinstance(setting, ProbeSetting):
            setting = dataclasses.replace(setting, shots=shots, standardise=standardise)
        elif shots is not None or standardise:
            raise BadInput(f"--shots and --standardise are of the regime probe, {regime} chosen")
        if holds_features(model):
            found = probe_files(Path(model), metric, regime, setting, seed)
        elif task is None:
            raise BadInput(f"{model}: no task given, and no folder with train.npz; give a folder of labelled images")
        else:
            spec = spec_of_model(model, checkpoint, untrained)
            request = Request(task, None, input_key, target_key, root=root, download=download, channels=in_chans)
            source = source_of(request, metric, seed, parsed_splits(splits))
            require_device(device)
            study = study_of(backend, device, seed)
            found = probe_model(spec, source, regime, setting, study, progress_of(quiet))
        print(json.dumps(plain(found), indent=1) if as_json else "\n".join(found.lines()))


@features_app.command("list")
def features_list(store: Store = None, as_json: Json = False) -> None:
    """What is stored, oldest first; unfinished files last.

    Example: featune features list
    """
    with errors():
        from featune.engine.store import plain

        from ..features import stored_entries

        found = stored_entries(_root(store))
        if as_json:
            print(json.dumps(plain(found), indent=1))
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
def features_show(key: Annotated[str, typer.Argument(help="A key, or how it begins.")], store: Store = None) -> None:
    """All that a file says of itself, as JSON: what it depends on, what was skipped, the verdict of its pass.

    Example: featune features show 3f2a
    """
    with errors():
        from ..features import full_key, record_of

        root = _root(store)
        print(json.dumps(record_of(root, full_key(root, key)), indent=1, ensure_ascii=False))


@features_app.command("verify")
def features_verify(keys: Keys = None, store: Store = None) -> None:
    """Read every byte of the files, all unless named; exit 1 if one is damaged.

    Example: featune features verify
    """
    with errors():
        from ..features import damaged_keys, full_key, recorded_keys

        root = _root(store)
        chosen = [full_key(root, key) for key in keys or []] or recorded_keys(root)
        wrong = damaged_keys(root, chosen)
        for key in wrong:
            print(f"{key}: damaged; it is not used, and made again when asked for")
        print(f"{len(chosen) - len(wrong)} of {len(chosen)} files are whole")
        if wrong:
            raise typer.Exit(1)


@features_app.command("remove")
def features_remove(
    keys: Keys = None,
    unfinished: Annotated[bool, typer.Option("--unfinished", help="Those that are not complete.")] = False,
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
    key: Annotated[str, typer.Argument(help="A key, or how it begins.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The file to write.")],
    to: Annotated[str | None, typer.Option("--to", help="parquet, npz or safetensors. (default: by --out)")] = None,
    data: Annotated[str | None, typer.Option("--data", help="Whose labels. (default: who asked last)")] = None,
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


def _root(store: Path | None) -> Path:
    from featune.engine.store import cache_dir

    return store or cache_dir() / "features"
