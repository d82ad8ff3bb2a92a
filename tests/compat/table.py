"""The table of a run as Markdown: a row a client, a column a heading of scenarios.py."""

import scenarios
from suite import FAIL, NOT_APPLICABLE, PASS, PENDING


class Notes:
    """Reasons, numbered in the order in which cells refer to them."""

    def __init__(self):
        self._numbers = {}

    def number(self, reason):
        return self._numbers.setdefault(reason, len(self._numbers) + 1)

    def lines(self):
        return [f"{number}. {reason}" for reason, number in self._numbers.items()]


def _cell(results, notes):
    """Several scenarios may share a column: green only if each that applies has passed."""
    if not results:
        return "-"
    if any(one["outcome"] == FAIL for one in results):
        return "**fail**"
    if any(one["outcome"] == PENDING for one in results):
        return "pending"
    reasons = sorted({notes.number(one["why"]) for one in results if one["outcome"] == NOT_APPLICABLE})
    passed = any(one["outcome"] == PASS for one in results)
    marks = ", ".join(map(str, reasons))
    if not reasons:
        return "pass"
    return f"pass ({marks})" if passed else f"n/a ({marks})"


def _exchange(row):
    outcomes = [one["outcome"] for one in row]
    if not outcomes:
        return "-"
    return f"{outcomes.count(PASS)}/{len(outcomes)}"


def markdown(run, matrix):
    notes = Notes()
    headings = list(dict.fromkeys(heading for _, heading in scenarios.SCENARIOS.values()))
    lines = ["| client | " + " | ".join(headings) + " | read by | reads |",
             "|---" * (len(headings) + 3) + "|"]
    limits, lacks = [], []
    for entry in matrix["clients"]:
        name = entry["name"]
        if name not in run["scenarios"]:
            continue
        cells = run["scenarios"][name]
        columns = [_cell([cells[ident] for ident, (_, of) in scenarios.SCENARIOS.items()
                          if of == heading and ident in cells], notes) for heading in headings]
        written = _exchange(list(run["exchange"].get(name, {}).values()))
        read = _exchange([row[name] for row in run["exchange"].values() if name in row])
        lines.append(f"| {name} {run['versions'][name]} | " + " | ".join(columns)
                     + f" | {written} | {read} |")
        for kind, said in (("cannot_write", "writes"), ("cannot_read", "reads")):
            for what, reason in entry.get(kind, {}).items():
                limits.append(f"- {name} {said} no {what.replace('_', ' ')}: {reason}")
        lacks += [f"- {name} has no {what}: {reason}" for what, reason in entry.get("lacks", {}).items()]
    lines += [""] + notes.lines()
    if limits:
        lines += ["", "Records that are left out because the client cannot say them:", ""] + limits
    if lacks:
        lines += ["", "What is done in another way because the client has no operation for it:", ""] + lacks
    for name, why in run["not_run"].items():
        lines.append(f"\nNot run: {name}: {why.splitlines()[0]}")
    return "\n".join(lines)
