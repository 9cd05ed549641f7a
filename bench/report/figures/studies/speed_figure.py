"""The report's figure of speed: images per second by device and scope."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

from ....results import (
    SCOPES,
    Results,
    Speed,
    counted,
    printable,
    scope_letter,
)
from ...figures import (
    COLOURS,
    MOST_ROWS,
    Bar,
    Figure,
    Key,
    Panel,
    bar_panel,
)
from .legend import places


def throughput_figure(speeds: Sequence[Speed], results: Results) -> Figure | None:
    if not speeds:
        return None
    ordered = sorted(speeds, key=dataclasses.astuple)
    names = sorted({_setup(one, ordered) for one in ordered})
    colours = {name: COLOURS[at % len(COLOURS)] for at, name in enumerate(names)}
    fastest = _fastest(ordered)
    panels: list[Panel] = []
    count = 0
    for device, scope in sorted({(one.device, scope_letter(one.scope)) for one in ordered}):
        here = [one for one in ordered if (one.device, scope_letter(one.scope)) == (device, scope)]
        models = sorted({one.model for one in here}, key=lambda name: (-fastest[name], name))
        count = max(count, len(models))
        models = models[:MOST_ROWS]
        rows = [
            (
                printable(model),
                [_bar(one, ordered, colours, places(results).get(one.model)) for one in here if one.model == model],
            )
            for model in models
        ]
        name, title = f"throughput-{len(panels)}", printable(f"{device}, scope ({scope})")
        description = f"Images per second on {title}, for {counted(len(rows), 'model')}."
        panels.append(bar_panel(name, title, description, rows, "Images per second"))
    caption = _throughput_caption(ordered)
    if count > MOST_ROWS:
        caption += f" Shown are the {MOST_ROWS} fastest of {count} models."
    keys: list[Key] = [[(printable(name), colours[name], "s") for name in names]]
    return Figure("throughput", printable(caption), tuple(panels), tuple(keys))


def _bar(one: Speed, among: Sequence[Speed], colours: Mapping[str, str], about: int | None) -> Bar:
    rate, name = one.images_per_second, _setup(one, among)
    return Bar(name, colours[name], rate, f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}", about)


def _fastest(speeds: Iterable[Speed]) -> dict[str, float]:
    found: dict[str, float] = {}
    for one in speeds:
        found[one.model] = max(found.get(one.model, 0.0), one.images_per_second)
    return found


def _throughput_caption(speeds: Sequence[Speed]) -> str:
    def all_of(name: str) -> str:
        return ", ".join(str(value) for value in sorted({getattr(one, name) for one in speeds}))

    scopes = sorted({scope_letter(one.scope) for one in speeds})
    meaning = "; ".join(f"({scope}) {SCOPES[scope]}" if scope in SCOPES else scope for scope in scopes)
    return (
        f"Images per second; higher is better. Device: {all_of('device')}. Batch: {all_of('batch')}. "
        f"Precision: {all_of('precision')}. Threads: {all_of('threads')}. The clock’s scope: {meaning}."
    )


def _setup(one: Speed, among: Sequence[Speed]) -> str:
    """The backend, and whatever else differs between the speeds."""
    parts = [one.backend]
    if len({other.precision for other in among}) > 1:
        parts.append(one.precision)
    if len({other.batch for other in among}) > 1:
        parts.append(f"batch {one.batch}")
    if len({other.threads for other in among}) > 1:
        parts.append(counted(one.threads, "thread"))
    return ", ".join(parts)
