from pathlib import Path

import numpy as np
import pytest

from featune.bench.data import Request, Source, look, open_data
from featune.bench.generated import generated_folder, named
from featune.bench.generated.images import fractal_families
from featune.engine.errors import BadInput


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Fewer images under the same names, so in a cache of their own."""
    monkeypatch.setenv("FEATUNE_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setitem(named.NAMES, "fractal-families", lambda seed: fractal_families(seed, 2, 1, 1, 2, 2))


def test_a_generated_name_is_a_task_with_its_own_splits() -> None:
    layout = look(Source("small", images=Request("generated/fractal-families:9")))
    assert layout.classes == ("f0-0", "f0-1", "f1-0", "f1-1")
    assert {split: len(items) for split, items in layout.splits.items()} == {"train": 8, "val": 4, "test": 4}
    assert len(open_data(Request("generated/fractal-families:9", "test")).items) == 4


def test_images_follow_the_seed_and_are_drawn_once(monkeypatch: pytest.MonkeyPatch) -> None:
    folders = [generated_folder(f"fractal-families{seed}") for seed in ("", ":0", ":1")]
    assert folders[0] == folders[1] != folders[2]
    first, other = ((folder / "train" / "f0-0" / "0000.png").read_bytes() for folder in folders[1:])
    assert first != other
    monkeypatch.setattr(named, "NAMES", {"fractal-families": lambda seed: pytest.fail("drawn again")})
    assert generated_folder("fractal-families") == folders[0]


def test_classes_of_one_family_are_nearer_to_each_other_than_to_another_familys() -> None:
    means: dict[str, np.ndarray] = {}
    for _, name, pixels in fractal_families(0, 30, 0, 0, 4, 3):
        ink = pixels.mean(axis=2) - pixels.mean()
        means[name] = means.get(name, 0) + ink / 30
    names = list(means)
    apart = {(a, b): float(((means[a] - means[b]) ** 2).mean()) for a in names for b in names if a < b}
    within = [value for (a, b), value in apart.items() if a[:2] == b[:2]]
    between = [value for (a, b), value in apart.items() if a[:2] != b[:2]]
    assert np.mean(within) < np.mean(between)


@pytest.mark.parametrize(
    ("text", "said"), [("digit", "did you mean|nearest|digits"), ("digits:x", "seed 'x' found"), ("digits:²", "seed")]
)
def test_what_is_not_generated_is_refused(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=said):
        generated_folder(text)
