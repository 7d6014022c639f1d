"""
The comparison as Markdown, for the terminal and for docs/benchmarks.md.

Made from the JSON of a run alone, so it cannot say anything else. Our row is the first of each table, the others are
ordered by their figures; where a peer is better than we are, its cell is bold. Knows nothing of how figures are taken.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

from benchmarks.compare.page_texts import BESIDE, COSTS, GLANCE, HEADINGS, INTRODUCTION, LATENCY, NOTES, OPENING
from benchmarks.measure import is_higher_better, ratio
from benchmarks.report import figure_text

Document = Mapping[str, Any]
Cells = Mapping[tuple[str, str, int], Mapping[str, Any]]

_LATENCIES = ("latency_threads", "latency_processes", "latency_threads_memory", "latency_processes_memory")
_RATES = (
    "produce_single",
    "produce_batch",
    "durable_single",
    "durable_threads",
    "consume_objects",
    "consume_columns",
)
_COLUMNS = {
    "produce_single": "send",
    "produce_batch": "batch",
    "durable_single": "durable",
    "durable_threads": "64 threads",
    "consume_objects": "objects",
    "consume_columns": "columns",
    "latency_threads": "threads",
    "latency_processes": "processes",
    "open": "open",
    "stock": "disk",
}
_SMALL, _LARGE = 100, 1_000
_COSTLY = ("produce_single", "produce_batch", "consume_objects")


@attrs.frozen
class View:
    """The cells of a run by peer, workload and size, and who we are among the peers."""

    document: Document
    ours: str
    cells: Cells

    @classmethod
    def of(cls, document: Document) -> View:
        """The view of a document; its first peer is us."""
        cells = {(cell["peer"], cell["workload"], cell["value_bytes"]): cell for cell in document["cells"]}
        return cls(document, document["peers"][0]["name"], cells)

    def cell(self, peer: str, workload: str, value_bytes: int = _SMALL) -> Mapping[str, Any] | None:
        """A cell with figures; None where there are none."""
        cell = self.cells.get((peer, workload, value_bytes))
        return cell if cell is not None and "median" in cell else None

    def better(self, peer: str, workload: str, value_bytes: int = _SMALL) -> float | None:
        """How many times better our median is."""
        ours, theirs = self.cell(self.ours, workload, value_bytes), self.cell(peer, workload, value_bytes)
        return ratio(ours["median"], theirs["median"], ours["unit"]) if ours and theirs else None

    def peers(self, workload: str) -> list[str]:
        """Those that have figures, ours first, then the best."""

        def rank(name: str) -> tuple[bool, bool, float]:
            cell = self.cell(name, workload)
            sign = -1.0 if cell and is_higher_better(cell["unit"]) else 1.0
            return (name != self.ours, cell is None, sign * cell["median"] if cell else 0.0)

        names = [peer["name"] for peer in self.document["peers"]]
        shown = [name for name in names if self.cell(name, workload) or self.cell(name, workload, _LARGE)]
        return sorted(shown, key=rank)

    def has(self, workload: str, value_bytes: int) -> bool:
        """Whether any peer has a figure there."""
        return any(self.cell(peer["name"], workload, value_bytes) for peer in self.document["peers"])


def sections(document: Document, *, images: str | None = None) -> str:
    """
    All tables of a run.

    Args:
        images: where the plots are, seen from the page; without them they are left out.
    """
    view = View.of(document)
    parts = [HEADINGS["comparison"], INTRODUCTION, _facts(view), HEADINGS["glance"], GLANCE, _glance(view)]
    if images and any(view.peers(workload) for workload in _RATES):
        parts.append(f"![Records a second of each peer, by workload]({images}/compare-rates.svg)")
    for workload in _RATES:
        if view.peers(workload):
            parts += [HEADINGS[workload], BESIDE[workload], _rates(view, workload)]
    if shown := [workload for workload in _LATENCIES if view.peers(workload)]:
        parts += [HEADINGS["latency"], LATENCY]
        if images:
            parts.append(f"![From producer to consumer, by peer]({images}/compare-latency.svg)")
        for workload in shown:
            parts += [HEADINGS[workload], _latencies(view, workload)]
    if any(view.peers(workload) for workload in _COSTLY):
        parts += [HEADINGS["costs"], COSTS, _costs(view, "cpu_s_per_million", _seconds), NOTES["memory"]]
        parts += [_costs(view, "peak_bytes", _megabytes)]
    if view.peers("open") or view.peers("stock"):
        parts += [HEADINGS["open"], OPENING, _disk_and_open(view)]
    parts += [HEADINGS["setups"], _setups(view), HEADINGS["absent"], _absent(view)]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def has_failures(document: Document) -> bool:
    """Whether a cell failed in any round; a peer that is not installed is no failure."""
    return any(cell.get("is_failure") or cell.get("failures") for cell in document["cells"])


def marked(text: str, better: float | None) -> str:
    """
    Bold where we lose: the ratio is below 1.

    Example:
        >>> marked("120 us", 0.4), marked("120 us", 2.5), marked("120 us", None)
        ('**120 us**', '120 us', '120 us')
    """
    return f"**{text}**" if better is not None and better < 1.0 else text


def ratio_text(better: float | None) -> str:
    """
    How many times better we are, with two digits that count.

    Example:
        >>> ratio_text(0.4217), ratio_text(2.345), ratio_text(46.4), ratio_text(1234.6), ratio_text(None)
        ('**0.42**', '2.3', '46', '1,235', '-')
    """
    if better is None:
        return "-"
    text = f"{better:.2f}" if better < 2 else f"{better:.1f}" if better < 10 else f"{better:,.0f}"
    return marked(text, better)


def value_text(figure: float | None, unit: str) -> str:
    """
    A figure with its unit, short.

    Example:
        >>> value_text(33.0, "records/s"), value_text(5_300.0, "records/s"), value_text(116.72, "bytes/record")
        ('33 /s', '5.3 k/s', '117 B')
        >>> value_text(98.2, "us"), value_text(1_234.5, "us"), value_text(12_345.6, "us")
        ('98 us', '1.23 ms', '12.3 ms')
    """
    if figure is not None and unit == "records/s" and figure < 1_000:
        return f"{figure:.0f} /s"
    if figure is not None and unit == "bytes/record":
        return f"{figure:,.0f} B"
    if figure is not None and unit == "us":
        return f"{figure:.0f} us" if figure < 1_000 else value_text(figure / 1e3, "ms")
    if figure is not None and unit == "ms":
        return f"{figure:.2f} ms" if figure < 10 else f"{figure:,.1f} ms" if figure < 100 else f"{figure:,.0f} ms"
    return figure_text(figure, unit)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown, with all columns but the first to the right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _facts(view: View) -> str:
    document, machine = view.document, view.document["machine"]
    versions = [
        f"{name} {version}"
        for peer in document["peers"]
        for name, version in peer["versions"].items()
        if version != "not installed"
    ]
    options = document["options"]
    disk = f"{machine['file_system']}, fdatasync p50 {machine['fdatasync_p50_us']} us"
    ours = f"eventlog {machine['packages']['eventlog']}, SQLite {machine['packages']['sqlite']}"
    size = f"{options['rounds']} rounds, {options['measured_s']} s a cell, {document['lasted_s']:.0f} s in all"
    lines = [
        f"{machine['cpu']}, {machine['cores']} cores, load {machine['load_average']}, {machine['system']}; {disk}",
        f"{machine['python']}; {', '.join(dict.fromkeys([ours, *versions]))}",
        f"{document['made_at']}, commit {machine['commit']}, {size}",
    ]
    return "\n".join(f"* {line}" for line in lines)


def _glance(view: View) -> str:
    workloads = [workload for workload in _COLUMNS if view.cell(view.ours, workload)]
    names = [peer["name"] for peer in view.document["peers"] if peer["name"] != view.ours and not peer["missing"]]
    ours = [value_text(_median(view, view.ours, workload), _unit(view, workload)) for workload in workloads]
    rows = [[f"*{view.ours}*", *ours]]
    rows += [[name, *(ratio_text(view.better(name, workload)) for workload in workloads)] for name in names]
    return table(["peer", *(_COLUMNS[workload] for workload in workloads)], rows)


def _median(view: View, peer: str, workload: str) -> float | None:
    cell = view.cell(peer, workload)
    return cell["median"] if cell else None


def _unit(view: View, workload: str) -> str:
    cell = view.cell(view.ours, workload)
    return str(cell["unit"]) if cell else ""


def _rates(view: View, workload: str) -> str:
    sizes = [size for size in (_SMALL, _LARGE) if view.has(workload, size)]
    kept = {peer["name"]: peer["keeps_in"] for peer in view.document["peers"]}
    is_producing = workload.startswith("produce")
    head = ["peer", *(text for size in sizes for text in (f"{size:,} B (best)", "ratio"))]
    rows = []
    for name in view.peers(workload):
        row = [name]
        for size in sizes:
            cell, better = view.cell(name, workload, size), view.better(name, workload, size)
            row += [_with_best(cell, better), "1" if name == view.ours and cell else ratio_text(better)]
        rows.append([*row, kept[name]] if is_producing else row)
    return table([*head, "kept in"] if is_producing else head, rows)


def _with_best(cell: Mapping[str, Any] | None, better: float | None) -> str:
    if cell is None:
        return "-"
    return marked(f"{value_text(cell['median'], cell['unit'])} ({value_text(cell['best'], cell['unit'])})", better)


def _latencies(view: View, workload: str) -> str:
    """The p50 is the median of the rounds, as elsewhere; the others need the records of all rounds together."""
    ours = view.cell(view.ours, workload)
    rows = []
    for peer in view.peers(workload):
        cell = view.cell(peer, workload)
        assert cell is not None
        row = [peer, marked(value_text(cell["median"], "us"), view.better(peer, workload))]
        for name in ("p99_us", "p99_9_us"):
            figure, our_figure = cell["details"].get(name), ours["details"].get(name) if ours else None
            better = figure / our_figure if figure and our_figure else None
            row.append(marked(value_text(figure, "us"), better))
        rows.append([*row, "1" if peer == view.ours else ratio_text(view.better(peer, workload))])
    return table(["peer", "p50", "p99", "p99.9", "ratio of p50"], rows)


def _costs(view: View, detail: str, text: Callable[[float], str]) -> str:
    def figure(name: str, workload: str) -> float | None:
        cell = view.cell(name, workload)
        return None if cell is None else cell["details"].get(detail)

    names = [peer["name"] for peer in view.document["peers"]]
    rows = []
    for name in names:
        figures = [(figure(name, workload), figure(view.ours, workload)) for workload in _COSTLY]
        if any(theirs is not None for theirs, _ in figures):
            texts = [
                "-" if theirs is None else marked(text(theirs), theirs / ours if ours else None)
                for theirs, ours in figures
            ]
            rows.append([name, *texts])
    return table(["peer", "send", "batch", "objects"], rows)


def _seconds(figure: float) -> str:
    return f"{figure:.2f} s" if figure < 10 else f"{figure:,.0f} s"


def _megabytes(figure: float) -> str:
    return f"{figure / 1e6:.1f} MB"


def _disk_and_open(view: View) -> str:
    rows = []
    order = view.peers("open") or view.peers("stock")
    for name in order:
        opened, small = view.cell(name, "open"), view.cell(name, "stock")
        large, better = view.cell(name, "stock", _LARGE), view.better(name, "open")
        rows.append(
            [
                name,
                marked(value_text(opened["median"], "ms"), better) if opened else "-",
                "1" if name == view.ours else ratio_text(better),
                f"{opened['details']['records_count']:,.0f}" if opened else "-",
                marked(value_text(small["median"], small["unit"]), view.better(name, "stock")) if small else "-",
                marked(value_text(large["median"], large["unit"]), view.better(name, "stock", _LARGE))
                if large
                else "-",
            ]
        )
    return table(["peer", "open", "ratio", "records", "disk, 100 B", "disk, 1,000 B"], rows)


def _setups(view: View) -> str:
    return "\n\n".join(
        f"**{peer['name']}**\\\n{one_a_line(peer['notes'])}" for peer in view.document["peers"] if not peer["missing"]
    )


def one_a_line(notes: str) -> str:
    r"""
    The sentences of some notes, one a line.

    Example:
        >>> one_a_line("One call. `send()` is it,\nand so on. Two, e.g. three.")
        'One call.\n`send()` is it, and so on.\nTwo, e.g. three.'
    """
    return re.sub(r"(?<=\.) (?=[A-Z`])", "\n", " ".join(notes.split()))


def _absent(view: View) -> str:
    lines = [f"* {peer['name']}: {peer['missing']}." for peer in view.document["peers"] if peer["missing"]]
    missing = {peer["name"] for peer in view.document["peers"] if peer["missing"]}
    found: dict[tuple[str, str], list[str]] = {}
    for cell in view.document["cells"]:
        if cell["peer"] not in missing:
            reasons = [cell["absent"]] if "absent" in cell else cell["failures"]
            for reason in reasons:
                word = "failed: " if "absent" not in cell or cell["is_failure"] else ""
                names = found.setdefault((cell["peer"], word + reason), [])
                name = cell["workload"].replace("_", " ")
                if name not in names:
                    names.append(name)
    lines += [f"* {peer}, {', '.join(names)}: {reason}." for (peer, reason), names in found.items()]
    return "\n".join(lines) or "Nothing."
