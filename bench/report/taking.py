"""Which model to take, in words: what to expect of it, what it costs, and by how much another one may be better."""

from typing import Any

from ..results import Choice, Results, counted, energy_text, label, metric_name, short_label, signed_points

MOST_NAMED = 5  # tasks


def taken(results: Results, choice: Choice, way: str) -> dict[str, Any]:
    """take: the model and what to do with it. expect: its accuracy. sentences: speed, cost, how sure."""
    one = choice.chosen
    limit = "" if choice.least_rate is None else f", the best that runs at {choice.least_rate:,.0f} images per second"
    sentences = []
    if one.rate is not None:
        sentences.append(f"It runs at {one.rate:,.0f} images per second here ({way}).")
    if one.seconds is not None:
        what = {"scratch": "Its training", "finetune": "Its fine-tuning"}.get(one.regime, "Its classifier")
        each = "" if len(choice.tasks) == 1 else " a task"
        but = "; features that were kept already are not counted" if what == "Its classifier" else ""
        energy = "" if one.kwh is None else f" and {energy_text(one.kwh)}"
        sentences.append(
            f"{what} took {_time(one.seconds)}{energy}{each} here, from the images to the test score{but}."
        )
    sentences.append(_not_better(choice))
    sentences += _elsewhere(results, choice)
    if choice.left_out:
        sentences.append(
            f"{counted(choice.left_out, 'pair')} of model and regime took no part, without a number on every task."
        )
    return {"take": f"Take {one.model}, {HOW.get(one.regime, label(one.regime))}{limit}.",
            "expect": _expect(results, choice), "sentences": sentences}  # fmt: skip


HOW = {
    "probe": "frozen, with a linear classifier on its features",
    "knn": "frozen, with nearest neighbours on its features",
    "finetune": "fine-tuned",
    "scratch": "trained from scratch",
}


def _time(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.1f} min"


def _expect(results: Results, choice: Choice) -> str:
    one, tasks = choice.chosen, choice.tasks
    names = {metric_name(results.metric[task]) for task in tasks}
    what = names.pop() if len(names) == 1 else "score"
    images = sum(results.entries[task, one.model, one.regime].n for task in tasks)
    spread = ""
    if one.low is not None and one.high is not None:
        spread = f" (95\u00a0% interval {100 * one.low:.1f} to {100 * one.high:.1f}\u00a0%, {images:,} test images)"
    over = f"a mean {what} of {100 * one.value:.1f}\u00a0% over the {len(tasks)} tasks" if len(tasks) > 1 else (
        f"{what} of {100 * one.value:.1f}\u00a0% on {tasks[0]}")  # fmt: skip
    lucky = "" if choice.compared == 1 else " It was chosen on these very images, so expect a little less on new ones."
    return f"Expect {over}{spread}.{lucky}"


def _not_better(choice: Choice) -> str:
    others = choice.compared - 1
    if not others:
        return "Nothing else could be compared with it."
    that = (
        "pairs of model and regime" if choice.least_rate is None else "pairs of model and regime that are fast enough"
    )
    who, verb = (f"None of the {others} others, {that},", "is") if others > 1 else ("The other one", "is not")
    if choice.not_better_by is None:
        whose = f"any of the {others} others" if others > 1 else "the other one"
        return f"How much better {whose} may be is not known, for want of intervals."
    bound = 100 * choice.not_better_by
    much = f"by more than {bound:.1f} points" if bound >= 0.05 else "at all"
    by_intervals = "by their intervals alone, as scores were not kept or a metric is no share of images"
    how = "on the same test images" if choice.paired else by_intervals
    sure = "95\u00a0%" if others == 1 else "95\u00a0% for all of them together"
    return f"{who} {verb} likely to be better {much} ({how}; {sure})."


def _elsewhere(results: Results, choice: Choice) -> list[str]:
    """Tasks on which another pair has the highest value, by name where they are few."""
    if len(choice.tasks) < 2:
        return []
    allowed = [one for one in choice.options
               if choice.least_rate is None or (one.rate is not None and one.rate >= choice.least_rate)]  # fmt: skip
    found = []
    for task in choice.tasks:
        best = max(allowed, key=lambda one: results.value(task, one.model, one.regime) or 0.0)
        own = results.value(task, choice.chosen.model, choice.chosen.regime) or 0.0
        more = 100 * ((results.value(task, best.model, best.regime) or 0.0) - own)
        if more > 0:
            found.append(f"{task}: {best.model}, {short_label(best.regime)}, {signed_points(more)} points")
    if not found:
        among = f"each of these {len(choice.tasks)} tasks, of the pairs compared"
        return [f"It has the highest number on {among}{_not_compared(results, choice)}."]
    if len(found) > MOST_NAMED:
        return [f"Another pair has a higher number on {len(found)} of {len(choice.tasks)} tasks; the tables name them."]
    return [f"Higher on a single task: {'; '.join(found)}."]


def _not_compared(results: Results, choice: Choice) -> str:
    left = [task for task in results.tasks if task not in choice.tasks]
    if not left:
        return ""
    named = ", ".join(left[:MOST_NAMED]) + (f" and {len(left) - MOST_NAMED} more" if len(left) > MOST_NAMED else "")
    return f"; not among them: {named}"
