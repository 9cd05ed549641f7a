"""`featune extract` and `featune probe`: parse, call one function, print."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..terminal import (
    BatchSize,
    DataRoot,
    Decoder,
    Device,
    Download,
    Fallback,
    InChans,
    InputKey,
    Json,
    Limit,
    Metric,
    OnError,
    Precision,
    Quiet,
    Seed,
    Splits,
    TargetKey,
    Untrained,
    Workers,
    errors,
    json_text,
    progress_of,
    with_view,
)
from .stored_commands import Store, features_app

if TYPE_CHECKING:
    from ..features import Merged

FEATURES = "Features"
BACKEND = "onnxruntime, torch, tensorrt, tensorrt-rtx or onnxruntime-tensorrt. (default: onnxruntime)"
app = typer.Typer()
app.add_typer(features_app, name="features", rich_help_panel=FEATURES)


@app.command(rich_help_panel=FEATURES)
@with_view
def extract(
    models: Annotated[str, typer.Argument(metavar="MODEL[,MODEL...]", help="timm names, or exported files.")],
    data: Annotated[str, typer.Argument(help="Folder, CSV, task, torch/NAME, hfds/OWNER/NAME or wds/PATTERN.")],
    split: Annotated[str | None, typer.Option(help="Split to read, if there are splits; all joins them.")] = None,
    input_key: Annotated[str | None, typer.Option(help="Column or extension of the image.")] = None,
    target_key: Annotated[str | None, typer.Option(help="Column or field of the label; '' for none.")] = None,
    class_map: Annotated[Path | None, typer.Option(help="Class names in order, or a pickled {name: number}.")] = None,
    limit: Limit = None,
    root: DataRoot = None,
    download: Download = False,
    in_chans: InChans = None,
    backend: Annotated[str | None, typer.Option(help=BACKEND)] = None,
    precision: Precision = None,
    device: Device = "cpu",
    checkpoint: Annotated[Path | None, typer.Option(help="Local weights, or a fine-tuned run's.")] = None,
    untrained: Untrained = False,
    decoder: Decoder = "fast",
    on_error: OnError = "stop",
    batch: BatchSize = None,
    workers: Workers = None,
    decode_in: Annotated[str, typer.Option(help="threads, or processes: for large GPUs.")] = "threads",
    keep_views: Annotated[bool, typer.Option("--keep-views", help="Store decoded images for later passes.")] = False,
    max_pixels: Annotated[int | None, typer.Option(help="Refuse larger images. (default: 178,956,970)")] = None,
    allow_fallback: Fallback = False,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Also write .npz, .parquet or .safetensors.")] = None,
    shard: Annotated[str | None, typer.Option("--shard", help="I/N: this share of the images alone.")] = None,
    merge: Annotated[
        int | None,
        typer.Option("--merge", min=1, help="Put the files of so many shares together; extracts nothing."),
    ] = None,
    store: Store = None,
    quiet: Quiet = False,
    as_json: Json = False,
    *,
    view: dict[str, Any],
) -> None:
    """Extract the features of a data set, and say what limited the speed. A killed run resumes.

    With several models, each image is decoded once.

    Example: featune extract resnet50,vit_small_patch16_224 photos/ --out photos.npz
    """
    with errors():
        from featune.engine.errors import BadInput
        from featune.engine.features import Options, check_decode_in, check_on_error
        from featune.engine.images import check_decoder, limit_pixels
        from featune.engine.store import check_writable
        from featune.export.commands import RunSettings

        from ..data import Request
        from ..features import Models, exported_to, extract_models, format_of, merge_models, of_share
        from ..study.cluster import parsed_shard

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
        options = Options(
            batch, workers, device, check_on_error(on_error), keep_views, decode_in=check_decode_in(decode_in)
        )
        chosen = Models(models.split(","), checkpoint, untrained, backend, precision, view)
        if shard and merge:
            raise BadInput("--shard and --merge exclude each other; make every share first, then merge")
        if merge:
            _print_merged(
                merge_models(chosen, request, how, options, merge, store=store, progress=progress_of(quiet)), as_json
            )
            return
        part = None
        if shard:
            share = parsed_shard(shard)
            options, part = of_share(share.index, share.count, chosen, options)
        found, made = extract_models(chosen, request, how, options, store=store, progress=progress_of(quiet), part=part)
        files = exported_to(made, out) if out else {each.key: str(each.file) for each in made}
        if as_json:
            notes = {"notes": list(found.notes)}
            print(json_text([each.record() | {"out": files[each.key]} | notes for each in made]))
            return
        for note in found.notes:
            print(f"note: {note}")
        for each in made:
            count, width = each.features.rows.shape
            print(f"{each.model}: {count} x {width}, key {each.key}: {files[each.key]}")
        for _, path, reason in made[0].features.skipped:
            print(f"skipped: {path}: {reason}")
        print("\n".join(made[0].features.verdict.lines()))


def _print_merged(made: "Sequence[Merged]", as_json: bool) -> None:
    from featune.engine.store import plain

    if as_json:
        print(json_text(plain(made)))
        return
    for each in made:
        print(f"{each.model}: {each.rows} images of {len(each.parts)} shares, key {each.key}: {each.file}")
        for note in each.notes:
            print(f"note: {note}")


@app.command(rich_help_panel=FEATURES)
@with_view
def probe(
    model: Annotated[
        str,
        typer.Argument(metavar="MODEL|FEATURES", help="A timm name, an exported file, or a folder of train.npz"),
    ],
    task: Annotated[str | None, typer.Argument(help="Folder, CSV, prepared task or data string.")] = None,
    metric: Metric = "top1",
    regime: Annotated[str, typer.Option(help="probe, knn, ridge or means.")] = "probe",
    shots: Annotated[int | None, typer.Option(min=1, help="Of each class in training, drawn by the seed.")] = None,
    standardise: Annotated[bool, typer.Option("--standardise", help="Scale each feature by its spread.")] = False,
    seed: Seed = 0,
    splits: Splits = "",
    input_key: InputKey = None,
    target_key: TargetKey = None,
    root: DataRoot = None,
    download: Download = False,
    in_chans: InChans = None,
    backend: Annotated[str | None, typer.Option(help=BACKEND)] = None,
    device: Device = "cpu",
    checkpoint: Annotated[Path | None, typer.Option(help="Local weights, or a fine-tuned run's.")] = None,
    untrained: Untrained = False,
    quiet: Quiet = False,
    as_json: Json = False,
    *,
    view: dict[str, Any],
) -> None:
    """Score frozen features on a task: fitted on train, chosen on val, measured once on test, with its interval.

    FEATURES are files that `featune extract MODEL DATA --split SPLIT --out FEATURES/SPLIT.npz` wrote.

    Example: featune probe resnet50 images/flowers
    """
    with errors():
        import dataclasses

        from featune.engine.errors import BadInput
        from featune.engine.store import plain
        from featune.export.commands import refuse_options, spec_of_model

        from ..data import Request, parsed_splits
        from ..regimes import ProbeSetting
        from ..study import (
            BACKEND_OF,
            check_file_alone,
            check_model,
            check_place,
            holds_features,
            probe_artefact,
            probe_files,
            probe_model,
            regime_of_frozen_features,
            source_of,
            study_of,
        )

        setting = regime_of_frozen_features(regime).default
        if isinstance(setting, ProbeSetting):
            setting = dataclasses.replace(setting, shots=shots, standardise=standardise)
        elif shots is not None or standardise:
            raise BadInput(f"--shots and --standardise are of the regime probe, {regime} chosen")
        if holds_features(model):
            refuse_options(model, view, "features were taken already")
            found = probe_files(Path(model), metric, regime, setting, seed)
        elif task is None:
            raise BadInput(f"{model}: no task given, and no folder with train.npz; give a folder of labelled images")
        else:
            said = progress_of(quiet)
            file = Path(model) if Path(model).suffix in BACKEND_OF else None
            usual = BACKEND_OF[file.suffix] if file else "onnxruntime"
            if file:
                refuse_options(file, view, "a file has its own view")
                check_file_alone(file, backend, checkpoint, untrained)
            check_place(backend or usual, device)
            request = Request(task, None, input_key, target_key, root=root, download=download, channels=in_chans)
            source = source_of(request, metric, seed, parsed_splits(splits))
            study = study_of(backend or usual, device, seed)
            if file:
                found = probe_artefact(file, source, regime, setting, study, said)
            else:
                spec = spec_of_model(model, checkpoint, untrained, view, said.say)
                check_model(spec)
                found = probe_model(spec, source, regime, setting, study, said)
        print(json_text(plain(found)) if as_json else "\n".join(found.lines()))
