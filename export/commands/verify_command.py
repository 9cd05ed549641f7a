"""Judge an artefact or a plan again, as `featune verify` does, and say in a few lines what was found."""

import dataclasses
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from featune.engine.errors import ParityFailed
from featune.engine.models import ModelSpec, View, feature_model, spec_from_entry, state_digest, with_channels

from ..backends import check_machine, gate_of_plan, judged, read_plan, require_plan, write_plan
from ..contract import channels_of, check_versions, contract_of, read_graph
from ..gate import Sample, judge
from ..graph import contract_differences
from ..precision import image_digests, stand_in
from .named_models import sample_of, spec_of_contract, spec_of_model
from .view_options import refuse_options

log = logging.getLogger("featune")


def verify(
    path: Path,
    data: Path | None = None,
    *,
    model: str | None = None,
    checkpoint: Path | None = None,
    view: Mapping[str, Any] | None = None,
    device: str = "cuda",
) -> dict[str, Any]:
    """Judge an artefact or a plan again and write the new verdict into it. Raises ParityFailed where it fails.

    model, checkpoint, view: what it should be, where the contract alone does not tell (local weights, own factories) or
    is not to be believed. view: parts of an entry, of the model, as `entry_of` gives them.
    """
    if view and model is None:
        refuse_options(path, view, "without --model the file's own view is judged")
    if path.suffix == ".plan":
        return _verify_plan(path, data, model, checkpoint, view, device)
    check_versions(read_graph(path), path)
    contract = contract_of(path)
    spec = (
        spec_of_contract(contract, path, checkpoint) if model is None else spec_of_model(model, checkpoint, view=view)
    )
    spec = with_channels(spec, channels_of(contract))
    if differences := contract_differences(contract, spec):
        # Its own verdict stays: it is not this file that is wrong.
        raise ParityFailed(f"{path} is not {spec.name}: {'; '.join(differences)}; give the model that it was made of")
    if model is None:
        _tell_of_another_view(spec, path)
    sample = _not_calibrated_on(contract, sample_of(spec, data))
    with stand_in(path, contract["precision"]) as instead:
        verdict = judge(spec, path, sample, stand_in=instead)
    if not verdict.passed:
        raise ParityFailed(f"{path} is not {spec.name}: {verdict.report}")
    return dataclasses.asdict(verdict)


def _tell_of_another_view(spec: ModelSpec, path: Path) -> None:
    """A contract is what says how images are cropped; where that is not timm's way, someone chose it or changed it."""
    if ":" in spec.architecture:
        return
    usual = with_channels(spec_from_entry({"architecture": spec.architecture, "pretrained": False}), spec.view.channels)
    pairs = zip(dataclasses.fields(View), dataclasses.astuple(spec.view), dataclasses.astuple(usual.view), strict=True)
    if other := [f"{field.name} {ours}, timm's is {timms}" for field, ours, timms in pairs if ours != timms]:
        log.warning("%s has a view of its own: %s", path, "; ".join(other))


def _not_calibrated_on(contract: Mapping[str, Any], sample: Sample) -> Sample:
    """The images that int8's ranges were not taken from, where two are left."""
    known = set(contract.get("calibrated_on", ()))
    new = torch.tensor([digest not in known for digest in image_digests(sample.images.numpy())])
    if new.all() or int(new.sum()) < 2:
        return sample
    labels = None if sample.labels is None else sample.labels[new.numpy()]
    return Sample(sample.images[new], f"{sample.source}, {int(new.sum())} not calibrated on", labels)


def verdict_lines(path: str, verdict: Mapping[str, Any]) -> list[str]:
    """A verdict as the few lines that a terminal shows."""
    found = verdict["parity"]
    lines = [
        f"{path}: passed, {verdict['precision']}, {found['n']} images ({verdict['source']})",
        f"worst cosine {found['worst_cosine']:.7f}, mean {found['mean_cosine']:.7f}, largest error "
        f"{found['max_error']:.3g}, noise {found['noise']:.2g}, same neighbour {found['neighbours']:.1%}",
    ]
    if verdict.get("probe"):
        probe = verdict["probe"]
        lines.append(
            f"probe accuracy {probe['reference']:.4f} to {probe['candidate']:.4f}, change {probe['difference']:+.4f} "
            f"(95 % {probe['low']:+.4f} to {probe['high']:+.4f}, n = {probe['n']})"
        )
    if verdict.get("speed"):
        lines.append(f"{verdict['speed']:.2f} times as fast as fp32 on this CPU, one thread, batch 8")
    if verdict.get("stand_in"):
        lines.append(f"checked by a stand-in: {verdict['stand_in']}")
    for title, key in (("judged", "judged"), ("not judged", "not_judged")):  # files of before have neither
        lines += [f"{title}: the {what}: {how}" for what, how in (verdict.get(key) or {}).items()]
    return lines


def _verify_plan(
    path: Path,
    data: Path | None,
    model: str | None,
    checkpoint: Path | None,
    view: Mapping[str, Any] | None,
    device: str,
) -> dict[str, Any]:
    """As `verify`. A plan that is of another model than the one given keeps the verdict that it has."""
    header, blob = read_plan(path)
    check_machine(header.key, path, device)
    contract = header.contract
    spec = (
        spec_of_contract(contract, path, checkpoint) if model is None else spec_of_model(model, checkpoint, view=view)
    )
    spec = with_channels(spec, channels_of(contract))
    differences = contract_differences(contract, spec)
    if not differences and state_digest(feature_model(spec)) != contract["weights"]:
        differences = ["the weights are other ones"]
    if differences:
        raise ParityFailed(f"{path} is not {spec.name}: {'; '.join(differences)}; its own verdict is left as it was")
    sample = _not_calibrated_on(contract, sample_of(spec, data))
    header = judged(header, blob, gate_of_plan(spec, lambda: sample, device), device)
    write_plan(path, header, blob)
    require_plan(header, path)
    return header.verdict
