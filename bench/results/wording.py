"""How the report writes things: names of regimes and metrics, numbers with their units, counts and lists."""

import math
import re
from collections.abc import Sequence

from .table import REGIMES, Entry, Results

SCOPES = {
    "a": "kernel only, data resident on the device",
    "b": "with copies between host and device",
    "c": "from files, decoding included",
}


# --- Names


def label(regime: str) -> str:
    """What a reader sees for a regime's name."""
    name, _, source = regime.partition(" [")
    return REGIMES.get(name, name) + (f" [published: {source}" if source else "")


def short_label(regime: str) -> str:
    name, _, source = regime.partition(" [")
    short = {"probe": "frozen, probe", "knn": "frozen, kNN", "scratch": "from scratch"}
    return short.get(name, REGIMES.get(name, name)) + (f" [published: {source}" if source else "")


def metric_name(name: str) -> str:
    known = {"top1": "top-1 accuracy", "top5": "top-5 accuracy", "mean_per_class": "mean per-class accuracy"}
    return known.get(name, name.replace("_", " "))


def scope_letter(text: str) -> str:
    """The scope's letter, whether it was written a, (a) or with words after it."""
    letter = text.strip().lstrip("(")[:1].lower()
    rest = text.strip().lstrip("(")[1:2]
    return letter if letter in SCOPES and not rest.isalnum() else text


def printable(text: object) -> str:
    """Names are user data: control characters and half surrogates would break XML.

    Marks that turn the direction of what follows are shown escaped, or a name could look like another.
    """
    text = str(text)
    if text.isascii() and text.isprintable():
        return text
    known = re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]", "\ufffd", text)
    return re.sub(r"[\u200e\u200f\u202a-\u202e\u2066-\u2069]", lambda mark: f"\\u{ord(mark[0]):04x}", known)


# --- Numbers

LEAST_KWH = 0.01  # below which energies are in Wh
MOST_DECIMALS = 6

# `imagenet_kind` of a study file -> the fact of the model's rows that is 1 where its source accuracy was found so.
KIND_FACTS = {"zero-shot": "source_zero_shot", "linear-probe": "source_linear_probe"}


def source_kind(results: Results, model: str) -> str:
    """How the model's source accuracy was found, empty for that of its own classifier."""
    facts = results.facts.get(model, {})
    return next((kind.replace("-", " ") for kind, fact in KIND_FACTS.items() if facts.get(fact)), "")


def source_text(results: Results, model: str) -> str:
    known, kind = results.source_top1.get(model), source_kind(results, model)
    return "–" if known is None else f"{100 * known:.1f}" + (f" ({kind})" if kind else "")


def number_text(value: float, results: Results, task: str) -> str:
    if not results.is_fraction(task):
        return f"{value:.3f}".replace("-", "−")
    return f"{100 * value:.1f}"


def interval_text(entry: Entry, results: Results, task: str) -> str:
    if entry.low is None or entry.high is None:
        return ""
    low, high = (number_text(end, results, task) for end in (entry.low, entry.high))
    return f"{low}–{high}" if results.is_fraction(task) else f"{low} to {high}"


def value_text(entry: Entry, results: Results, task: str) -> str:
    unit = "\u00a0%" if results.is_fraction(task) else ""
    interval = interval_text(entry, results, task)
    value = number_text(entry.value or 0.0, results, task)
    return f"{value}{unit}" + (f", {interval}" if interval else "")


def signed(value: float) -> str:
    """Two decimals, three where two would round to a perfect 1."""
    text = f"{value:.{3 if 0.995 <= abs(value) < 0.9995 else 2}f}"
    return "0.00" if text == "-0.00" else text.replace("-", "−")


def plain_number(value: float, digits: int) -> str:
    """So many significant digits or more, never as a power of ten: 0.042, 0.3, 150."""
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value)))) if value else 0
    text = f"{value:,.{min(decimals, MOST_DECIMALS)}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text.replace("-", "−")


def energy_text(kwh: float, digits: int = 2) -> str:
    """`0.3 kWh`, `4.2 Wh`."""
    small = abs(kwh) < LEAST_KWH
    return f"{plain_number(1000 * kwh if small else kwh, digits)} {'Wh' if small else 'kWh'}"


def signed_points(points: float) -> str:
    return f"{points:+.1f}".replace("-", "−")


# --- Sentences


def counted(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def joined(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]


def capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def duration(seconds: float) -> str:
    """`90 s`, `12 min`, `3.4 h`."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
