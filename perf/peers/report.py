"""Rounds, their medians and ratios, and goals judged by them: as perf/lib does for the C++ programs."""

import json
import os
import platform
import statistics
import sys

QUIET_LOAD_MAX = 0.7


class Outcome:
    """What one contender's rounds found: figure -> values in the order of the rounds."""

    def __init__(self, name):
        self.name = name
        self.rounds = {}

    def add(self, figures):
        for figure, value in figures.items():
            self.rounds.setdefault(figure, []).append(value)

    def median(self, figure):
        return statistics.median(self.rounds[figure])

    def cell(self, figure, digits):
        if figure not in self.rounds:
            return "-"
        values = self.rounds[figure]
        return f"{self.median(figure):.{digits}f} ({min(values):.{digits}f}..{max(values):.{digits}f})"


class Report:
    def __init__(self, title):
        self.title = title
        self.machine = f"{os.cpu_count()} cores, {platform.system()} {platform.release()}"
        self.sections = {}
        self.goals = []
        self.notes = []
        print(f"{title}\n{self.machine}; medians of interleaved rounds (smallest..largest)")
        load = os.getloadavg()[0]
        if load > QUIET_LOAD_MAX:
            self.note(f"The machine is busy (load {load:.1f}): figures rank, but do not judge.")

    def note(self, line):
        print(line, flush=True)
        self.notes.append(line)

    def table(self, heading, outcomes, columns):
        """columns: (figure, heading, digits)"""
        rows = [[heading] + [column[1] for column in columns]]
        for outcome in outcomes:
            rows.append([outcome.name] + [outcome.cell(figure, digits) for figure, _, digits in columns])
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        print()
        for row in rows:
            print("  ".join(cell.ljust(width) if i == 0 else cell.rjust(width)
                            for i, (cell, width) in enumerate(zip(row, widths))))
        self.sections[heading] = {outcome.name: outcome.rounds for outcome in outcomes}

    def goal(self, name, value, limit, unit="x", at_least=False):
        """Prints and keeps it; the value is a median, or a ratio of medians."""
        met = value >= limit if at_least else value <= limit
        self.goals.append({"name": name, "value": value, "at_least": at_least, "limit": limit,
                           "unit": unit, "met": met})
        print(f"  {'met' if met else 'NOT MET':8} {name}: {value:.3g}{unit} "
              f"(goal: at {'least' if at_least else 'most'} {limit:.3g}{unit})", flush=True)

    def all_met(self):
        return all(goal["met"] for goal in self.goals)

    def write(self, path):
        with open(path, "w", encoding="utf-8") as file:
            json.dump({"title": self.title, "machine": self.machine, "notes": self.notes,
                       "sections": self.sections, "goals": self.goals}, file, indent=2)


def run_interleaved(contenders, rounds):
    """contenders: (name, function that returns figures). The first round is not counted; the order turns."""
    outcomes = [Outcome(name) for name, _ in contenders]
    for number in range(rounds + 1):
        order = range(len(contenders)) if number % 2 == 0 else reversed(range(len(contenders)))
        for index in order:
            _progress(f"round {number} of {rounds}: {contenders[index][0]}")
            figures = contenders[index][1]()
            if number > 0:
                outcomes[index].add(figures)
    _progress("")
    return outcomes


def _progress(text):
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
