"""The results as a drawing: throughput and latency by depth (SVG 1.1)."""
from math import ceil, floor, log2, log10
from xml.sax.saxutils import escape

from report import Table, rate

COLORS = {"spindle": "#1f6feb", "nbdkit": "#d29922", "qemu-nbd": "#8957e5", "nbd-server": "#6e7781"}
WIDTH, HEIGHT = 920, 400
# Of the two drawings: left edges, width, top and bottom.
LEFT, PLOT, TOP, BOTTOM = (70, 530), 340, 60, 340


def svg(document):
    table = Table(document)
    depths = sorted({depth_of(name) for name, _ in table.entries if name.startswith("sweep-")})
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
    ]
    if len(depths) > 1:
        parts += panel(table, depths, 0, "4 KiB random reads a second, thousands", False,
                       [("", "", lambda entry: rate(entry) / 1000)])
        parts += panel(table, depths, 1, "latency in µs: p50 (line), p99 (dashed)", True, [
            ("p50", "", lambda entry: entry["latencyMicroseconds"]["p50"]),
            ("p99", "5 4", lambda entry: entry["latencyMicroseconds"]["p99"])])
        parts += legend(table)
    else:
        parts.append(text(WIDTH / 2, HEIGHT / 2, "the cases sweep-* were not measured", "middle"))
    return "\n".join(parts) + "\n</svg>\n"


def depth_of(name):
    return int(name.removeprefix("sweep-d"))


def panel(table, depths, number, title, is_logarithmic, series):
    left = LEFT[number]
    values = [figure for _, _, value in series for server in table.servers for depth in depths
              if (figure := table.median(f"sweep-d{depth}", server, value)) is not None]
    scale = Logarithmic(values) if is_logarithmic else Linear(values)
    parts = [text(left, TOP - 18, title)]
    for tick in scale.ticks():
        y = BOTTOM - scale.place(tick) * (BOTTOM - TOP)
        parts.append(f'<line x1="{left}" x2="{left + PLOT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#d8dee4"/>')
        parts.append(text(left - 6, y + 4, f"{tick:g}", "end"))

    def x(depth):
        return left + log2(depth / depths[0]) / log2(depths[-1] / depths[0]) * PLOT

    for depth in depths:
        parts.append(text(x(depth), BOTTOM + 18, str(depth), "middle"))
    parts.append(text(left + PLOT / 2, BOTTOM + 36, "requests in flight", "middle"))
    for server in table.servers:
        for _, dashes, value in series:
            points = [(x(depth), BOTTOM - scale.place(figure) * (BOTTOM - TOP)) for depth in depths
                      if (figure := table.median(f"sweep-d{depth}", server, value)) is not None]
            line = " ".join(f"{px:.1f},{py:.1f}" for px, py in points)
            parts.append(f'<polyline points="{line}" fill="none" stroke="{COLORS[server]}" stroke-width="2"'
                         + (f' stroke-dasharray="{dashes}"' if dashes else "") + "/>")
            parts += [f'<circle cx="{px:.1f}" cy="{py:.1f}" r="2.5" fill="{COLORS[server]}"/>' for px, py in points]
    return parts


def legend(table):
    parts = []
    for number, server in enumerate(table.servers):
        x = LEFT[0] + number * 120
        parts.append(f'<rect x="{x}" y="12" width="14" height="4" fill="{COLORS[server]}"/>')
        parts.append(text(x + 20, 18, server))
    return parts


def text(x, y, content, anchor="start"):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="#24292f">{escape(content)}</text>'


class Linear:
    """From zero to a round number above all values."""

    def __init__(self, values):
        step = 10 ** floor(log10(max(values)))
        self.step = next(step * part for part in (0.2, 0.25, 0.5, 1, 2) if max(values) / (step * part) <= 6)
        self.top = ceil(max(values) / self.step) * self.step

    def place(self, value):
        return value / self.top

    def ticks(self):
        return [self.step * number for number in range(round(self.top / self.step) + 1)]


class Logarithmic:
    """Between powers of ten."""

    def __init__(self, values):
        self.low, self.high = floor(log10(min(values))), ceil(log10(max(values)))

    def place(self, value):
        return (log10(value) - self.low) / (self.high - self.low)

    def ticks(self):
        return [10**power for power in range(self.low, self.high + 1)]
