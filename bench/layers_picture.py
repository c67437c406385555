"""The picture of the layers: a bar for each operation, and under the bars every figure with the colour it has there."""

from collections.abc import Iterable, Iterator, Mapping
from html import escape

from bench import layers_split as split
from bench.layers_split import GROUPS

_COLOURS: Mapping[str, str] = {
    split.LOAD: "#8c959f",
    split.SOCKETS: "#0a3069",
    split.HTTP: "#0969da",
    split.EDGE: "#54aeff",
    split.CHECKS: "#6639ba",
    split.BODY: "#b58af0",
    split.DRIVER: "#116466",
    split.OTHER: "#2bb3a3",
    split.LOG: "#a8e0e8",
    split.BACKEND: "#7a2e0e",
    split.ENTER: "#c2510a",
    split.STATEMENT: "#f08c1a",
    split.CHANGES: "#ffd166",
    split.REMEMBER: "#bf3989",
    split.LOG_ROWS: "#f29bc4",
    split.BACKGROUND: "#8a9a3b",
}
_WIDTH, _MARGIN = 1040, 24
_BARS_X, _BARS_Y, _BAR, _BAR_STEP, _LONGEST = 110, 56, 34, 44, 840
_ROW, _SWATCH, _CELL, _BLOCKS_X = 20, 12, 76, (24, 536)
_DIGIT = 7.0
_INK, _PAPER = "#1f2328", "#ffffff"
_STYLE = (
    f"text{{font:12px sans-serif;fill:{_INK}}}.head{{font-weight:bold}}.light{{fill:{_PAPER}}}"
    ".end{text-anchor:end}.mid{text-anchor:middle}"
)


def drawn(found: Mapping[str, Mapping[str, float]]) -> str:
    """Return the SVG of each operation's microseconds by layer; it brings its own paper, for pages light and dark."""
    table_y = _BARS_Y + _BAR_STEP * len(found) + 28
    left, right = _blocks(found)
    height = table_y + _ROW * max(len(left), len(right)) + _MARGIN - 4
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" role="img"'
        ' aria-label="CPU per request by layer">',
        f"<style>{_STYLE}</style>",
        f'<rect x="0.5" y="0.5" width="{_WIDTH - 1}" height="{height - 1}" rx="8" fill="{_PAPER}" stroke="#d0d7de"/>',
        _text(
            _MARGIN, 32, "µs of CPU per request, by layer; create and update with an Idempotency-Key", "head"
        ),
        *_bars(found),
        *_table(left, _BLOCKS_X[0], table_y, found),
        *_table(right, _BLOCKS_X[1], table_y, found),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _bars(found: Mapping[str, Mapping[str, float]]) -> Iterator[str]:
    scale = _LONGEST / max(sum(layers.values()) for layers in found.values())
    for n, (title, layers) in enumerate(found.items()):
        x, y = float(_BARS_X), _BARS_Y + _BAR_STEP * n
        base = y + _BAR / 2 + 4
        yield _text(_BARS_X - 10, base, title, "head end")
        for layer in _ordered():
            us, width = layers[layer], layers[layer] * scale
            yield (
                f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{_BAR}" fill="{_COLOURS[layer]}"'
                f' stroke="{_PAPER}" stroke-width="0.5"><title>{escape(layer)}: {us:.0f} µs</title></rect>'
            )
            figure = f"{us:.0f}"
            if width >= _DIGIT * len(figure) + 4:
                shade = "mid light" if _is_dark(_COLOURS[layer]) else "mid"
                yield _text(x + width / 2, base, figure, shade)
            x += width
        yield _text(x + 8, base, f"{sum(layers.values()):.0f}", "head")


def _blocks(found: Mapping[str, Mapping[str, float]]) -> tuple[list[tuple[str, list[float], bool]], ...]:
    """Return the rows of the table's two halves: what they are, the figures, and whether it is a sum."""
    blocks: dict[str, list[tuple[str, list[float], bool]]] = {}
    for group, layers in GROUPS.items():
        rows = [(layer, [us[layer] for us in found.values()], False) for layer in layers]
        sums = [sum(us[layer] for layer in layers) for us in found.values()]
        blocks[group] = rows if len(rows) == 1 else [(group, sums, True), *rows]
    *ours, database = blocks.values()
    everything = ("all", [sum(us.values()) for us in found.values()], True)
    return [row for block in ours for row in block], [*database, everything]


def _table(
    rows: Iterable[tuple[str, list[float], bool]], x: int, y: int, titles: Iterable[str]
) -> Iterator[str]:
    ends = [x + 172 + _CELL * (n + 1) for n in range(len(list(titles)))]
    for end, title in zip(ends, titles, strict=True):
        yield _text(end, y, title, "end")
    for n, (name, figures, is_sum) in enumerate(rows, start=1):
        base = y + _ROW * n
        if not is_sum:
            yield (
                f'<rect x="{x}" y="{base - _SWATCH + 2}" width="{_SWATCH}" height="{_SWATCH}" rx="2"'
                f' fill="{_COLOURS[name]}"/>'
            )
        yield _text(x if is_sum else x + _SWATCH + 8, base, name, "head" if is_sum else "")
        for end, us in zip(ends, figures, strict=True):
            yield _text(end, base, f"{us:.0f}", "head end" if is_sum else "end")


def _ordered() -> Iterator[str]:
    return (layer for layers in GROUPS.values() for layer in layers)


def _text(x: float, y: float, words: str, kind: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}">{escape(words)}</text>'


def _is_dark(colour: str) -> bool:
    red, green, blue = (int(colour[n : n + 2], 16) for n in (1, 3, 5))
    return red * 0.299 + green * 0.587 + blue * 0.114 < 140
