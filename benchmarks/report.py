"""
What a run leaves behind: a printed table, a JSON document, and from that the page of the docs.

The JSON is the record; table and page are made from it alone, so they cannot say anything else.
Knows nothing of how figures are taken.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.measure import Absent, Summary
from benchmarks.row import Result

SCHEMA_VERSION = 1
RESULTS = Path(__file__).resolve().parent / "results"

Document = dict[str, Any]
_HEAD = ("row", "ours", "best", "peer", "best", "ratio", "of bests", "bar", "held")


def to_document(
    results: Sequence[Result], *, facts: Mapping[str, object], options: Mapping[str, object], made_at: str
) -> Document:
    """The whole run as plain JSON types."""
    return {
        "schema_version": SCHEMA_VERSION,
        "made_at": made_at,
        "machine": dict(facts),
        "options": dict(options),
        "rows": [_row_document(result) for result in results],
    }


def _row_document(result: Result) -> Document:
    row, bar = result.row, result.row.bar
    return {
        "group": row.group,
        "name": row.name,
        "unit": row.unit,
        "ours": _side_document(row.ours.label, result.ours),
        "peer": None if row.peer is None or result.peer is None else _side_document(row.peer.label, result.peer),
        "ratio_of_medians": result.ratio_of_medians,
        "ratio_of_bests": result.ratio_of_bests,
        "bar": None if bar is None else {"kind": bar.kind, "value": bar.value},
        "is_held": result.is_held,
    }


def _side_document(label: str, summary: Summary | Absent) -> Document:
    if isinstance(summary, Absent):
        return {"label": label, "absent": summary.reason, "is_failure": summary.is_failure}
    return {
        "label": label,
        "median": summary.median,
        "best": summary.best,
        "figures": summary.figures,
        "details": summary.details,
    }


def cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    """One row as the texts of the table, in the order of its head."""
    unit, ours, peer = row["unit"], row["ours"], row["peer"]
    return (
        row["name"],
        figure_text(ours.get("median"), unit),
        figure_text(ours.get("best"), unit),
        figure_text(peer.get("median"), unit) if peer else "",
        figure_text(peer.get("best"), unit) if peer else "",
        _ratio_text(row["ratio_of_medians"]),
        _ratio_text(row["ratio_of_bests"]),
        bar_text(row["bar"], unit),
        {True: "yes", False: "NO", None: ""}[row["is_held"]],
    )


def figure_text(figure: float | None, unit: str) -> str:
    """
    A figure with its unit, short; "-" for one that is missing.

    Example:
        >>> figure_text(2_345_678.0, "records/s"), figure_text(61.24, "us"), figure_text(None, "us")
        ('2.35 M/s', '61.2 us', '-')
    """
    if figure is None:
        return "-"
    if unit == "records/s":
        if figure >= 1e6:
            return f"{figure / 1e6:.2f} M/s"
        return f"{figure / 1e3:.1f} k/s"
    if unit == "bytes/byte":
        return f"{figure:.3f}"
    return f"{figure:.1f} {unit}" if figure >= 1 else f"{figure:.2f} {unit}"


def bar_text(bar: Mapping[str, Any] | None, unit: str) -> str:
    """
    What the row has to reach; nothing for a row that only explains.

    Example:
        >>> bar_text({"kind": "ratio", "value": 1.3}, "records/s"), bar_text({"kind": "figure", "value": 5.0}, "ms")
        ('ratio >= 1.3', '<= 5.0 ms')
    """
    if bar is None:
        return ""
    if bar["kind"] == "ratio":
        return f"ratio >= {bar['value']:g}"
    return f"{'>=' if unit == 'records/s' else '<='} {figure_text(bar['value'], unit)}"


def table(document: Mapping[str, Any]) -> str:
    """The run as a table for a terminal, with what is missing and the details below it."""
    rows = [cells(row) for row in document["rows"]]
    widths = [max(len(line[column]) for line in [_HEAD, *rows]) for column in range(len(_HEAD))]
    lines = [_aligned(_HEAD, widths), _aligned(["-" * width for width in widths], widths)]
    lines += [_aligned(row, widths) for row in rows]
    return "\n".join([*machine_lines(document), "", *lines, "", *_remarks(document["rows"])])


def _aligned(texts: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = zip(texts, widths, strict=True)
    return "  ".join([first[0].ljust(first[1]), *(text.rjust(width) for text, width in others)]).rstrip()


def machine_lines(document: Mapping[str, Any]) -> list[str]:
    """Where and when the run was, in two or three lines."""
    machine, options = document["machine"], document["options"]
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    disk = f"{machine['file_system']}, fdatasync p50 {machine['fdatasync_p50_us']} us"
    return [
        f"{machine['cpu']}, {machine['cores']} cores, load {machine['load_average']}, {machine['system']}; {disk}",
        f"{machine['python']}; {packages}",
        f"{document['made_at']}, commit {machine['commit']}, {options['rounds']} rounds, scale {options['scale']}",
    ]


def _remarks(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = []
    for row in rows:
        for side in (row["ours"], row["peer"]):
            if side and "absent" in side:
                word = "failed" if side["is_failure"] else "skipped"
                lines.append(f"{word}: {row['name']}: {side['label']}: {side['absent']}")
            elif side and side["details"]:
                lines.append(f"{row['name']}: {side['label']}: {details_text(side['details'])}")
    return lines


def details_text(details: Mapping[str, float]) -> str:
    """
    The further figures of a side in one line.

    Example:
        >>> details_text({"p50_us": 61.24, "p99_9_us": 1_234.5, "loop_records_per_s": 2_345_678.0})
        'p50 61.2 us, p99.9 1,234 us, loop 2.35 M/s'
        >>> details_text({"transactions_count": 1_203, "p50_ms": 4.04})
        'transactions 1,203, p50 4.0 ms'
    """
    return ", ".join(_detail_text(name, value) for name, value in details.items())


def _detail_text(name: str, value: float) -> str:
    if name.endswith("_count"):
        return f"{name.removesuffix('_count').replace('_', ' ')} {value:,.0f}"
    for ending, unit in (("_records_per_s", "records/s"), ("_us", "us"), ("_ms", "ms"), ("", "bytes/byte")):
        if name.endswith(ending):
            words = name.removesuffix(ending).replace("p99_9", "p99.9").replace("_", " ")
            return f"{words} {f'{value:,.0f} {unit}' if value >= 1000 and unit == 'us' else figure_text(value, unit)}"
    raise AssertionError(name)


def has_failures(document: Mapping[str, Any]) -> bool:
    """Whether a side raised; a skipped peer is no failure, nor is a bar that was missed."""
    sides = [side for row in document["rows"] for side in (row["ours"], row["peer"]) if side]
    return any(side.get("is_failure", False) for side in sides)


def _ratio_text(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
