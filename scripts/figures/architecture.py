"""Draw `docs/architecture.svg` from the source tree: the rooms, what starts them, and the imports between
them.

    python scripts/figures/architecture.py [OUT.svg]

Imports are read with `ast` from every module of every `src_*` folder, function-level imports included, so the
figure shows what the code does. The text of a box is the first paragraph of the room's `__init__` docstring,
its sub-packages, and the shell scripts that run one of its modules. Each imported room has one vertical line;
a dot marks a room that imports it, the arrow points at the room that is imported.
"""

from __future__ import annotations

import ast
import re
import sys
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
OUT = ROOT / "docs/architecture.svg"
SCRIPT_FOLDERS = (".", "deploy", "scripts")

BOX_WIDTH = 660
LINE = 17
PAD = 12
GAP = 14
LANE = 30
MARGIN = 20
CHARS = 102  # of a 12 px line in a box
COLOURS = ("#3b7dd8", "#d9622b", "#2f9e62", "#8a5cc7", "#b8860b", "#c2417c", "#4a8f9c", "#7a7a2a")
CAPTION = "A dot: the room on its left imports the room that the arrow of this line points at."
STYLE = """
  .page { fill: #ffffff; stroke: #d0d7de; } .box { fill: #f4f6f8; stroke: #8b949e; }
  text { font-family: "DejaVu Sans", Verdana, sans-serif; fill: #1f2328; }
  .name { font-size: 15px; font-weight: bold; } .what { font-size: 12px; }
  .parts { font-size: 11px; fill: #57606a; }
  @media (prefers-color-scheme: dark) {
    .page { fill: #0d1117; stroke: #30363d; } .box { fill: #161b22; stroke: #6e7681; }
    text { fill: #e6edf3; } .parts { fill: #9da7b3; }
  }
"""


@dataclass(frozen=True, slots=True)
class Room:
    """A `src_*` folder: what its box says, and the rooms that its modules import."""

    name: str
    purpose: str
    parts: tuple[str, ...]
    scripts: tuple[str, ...]
    imports: frozenset[str]


@dataclass(frozen=True, slots=True)
class Box:
    """A room at its place: `top` and `height` in pixels, the lines below its name with their style."""

    room: Room
    top: int
    height: int
    lines: tuple[tuple[str, str], ...]


def read_rooms(root: Path) -> list[Room]:
    """All rooms under `root`, those that import most on top. Raises `ValueError` when imports form a
    circle.
    """
    names = sorted(path.parent.name for path in root.glob("src_*/__init__.py"))
    scripts = scripts_of_rooms(root)
    rooms = [read_room(root / name, scripts.get(name, ())) for name in names]
    return in_order({room.name: room for room in rooms})


def read_room(folder: Path, scripts: tuple[str, ...]) -> Room:
    """One room, its imports read from the syntax tree of every module in it."""
    opening = ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8"))) or ""
    imported: set[str] = set()
    for path in sorted(folder.rglob("*.py")):
        imported |= imported_rooms(path.read_text(encoding="utf-8"))
    return Room(
        name=folder.name,
        purpose=" ".join(opening.split("\n\n")[0].split()),
        parts=tuple(sorted(path.parent.name for path in folder.glob("*/__init__.py"))),
        scripts=scripts,
        imports=frozenset(imported - {folder.name}),
    )


def imported_rooms(source: str) -> set[str]:
    """The rooms that a module's import statements name, wherever in the module they are."""
    modules: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            modules += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            modules.append(node.module or "")
    return {module.split(".")[0] for module in modules if module.startswith("src_")}


def scripts_of_rooms(root: Path) -> dict[str, tuple[str, ...]]:
    """For each room the shell scripts that run one of its modules. Sourced files (without `#!`) are left
    out.
    """
    found: dict[str, list[str]] = {}
    for path in sorted(path for folder in SCRIPT_FOLDERS for path in (root / folder).glob("*.sh")):
        text = path.read_text(encoding="utf-8")
        code = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
        for room in sorted(set(re.findall(r"\b(src_\w+)\.\w+", "\n".join(code)))):
            if text.startswith("#!"):
                found.setdefault(room, []).append(path.relative_to(root).as_posix())
    return {room: tuple(paths) for room, paths in found.items()}


def in_order(rooms: Mapping[str, Room]) -> list[Room]:
    """Rooms that nobody imports first, then by the longest chain of imports below them, longest first."""
    wanted = frozenset().union(*(room.imports for room in rooms.values()))

    def depth(name: str, above: tuple[str, ...] = ()) -> int:
        if name in above:
            raise ValueError(f"imports form a circle: {' -> '.join((*above, name))}")
        return max((1 + depth(other, (*above, name)) for other in rooms[name].imports), default=0)

    return sorted(rooms.values(), key=lambda room: (room.name in wanted, -depth(room.name), room.name))


def place(rooms: list[Room]) -> list[Box]:
    """The boxes from top to bottom."""
    boxes: list[Box] = []
    top = MARGIN
    for room in rooms:
        lines = [("what", line) for line in textwrap.wrap(room.purpose, CHARS)]
        for label, words in (("parts", room.parts), ("run by", room.scripts)):
            if words:
                text = f"{label}: {', '.join(words)}"
                lines += [("parts", line) for line in textwrap.wrap(text, CHARS, break_on_hyphens=False)]
        height = 2 * PAD + LINE * (len(lines) + 1) - 4
        boxes.append(Box(room, top, height, tuple(lines)))
        top += height + GAP
    return boxes


def draw(rooms: list[Room]) -> str:
    """The figure as SVG text."""
    boxes = place(rooms)
    imported = [box for box in boxes if any(box.room.name in other.imports for other in rooms)]
    width = 2 * MARGIN + BOX_WIDTH + LANE * (len(imported) + 1)
    foot = boxes[-1].top + boxes[-1].height + MARGIN
    height = foot + MARGIN
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" role="img">',
        "<title>The rooms of the code base and the imports between them</title>",
        f"<style>{STYLE}</style>",
        f'<rect class="page" x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="8"/>',
    ]
    for number, target in enumerate(imported):
        colour = COLOURS[number % len(COLOURS)]
        out += draw_lane(target, boxes, place_in_box=number, colour=colour)
    for box in boxes:
        out += draw_box(box)
    out.append(f'<text class="parts" x="{MARGIN}" y="{foot + 2}">{CAPTION}</text>')
    return "\n".join([*out, "</svg>"]) + "\n"


def draw_lane(target: Box, boxes: list[Box], *, place_in_box: int, colour: str) -> list[str]:
    """The line of one imported room: a dot per importing room, an arrow into the imported one."""
    edge = MARGIN + BOX_WIDTH
    x = edge + LANE * (place_in_box + 1)
    importers = [box for box in boxes if target.room.name in box.room.imports]
    arrive = target.top + PAD + 4
    joins = [box.top + join_offset(box, boxes, target.room.name) for box in importers]
    out = [
        f'<path d="M{x} {min(joins)}V{arrive}H{edge + 9}" fill="none" stroke="{colour}" stroke-width="2"/>'
    ]
    out.append(f'<path d="M{edge + 1} {arrive}l9 -5v10z" fill="{colour}"/>')
    for box, y in zip(importers, joins, strict=True):
        out.append(
            f'<path d="M{edge} {y}H{x}" stroke="{colour}" stroke-width="1.5"/>'
            f'<circle cx="{x}" cy="{y}" r="4" fill="{colour}">'
            f"<title>{escape(box.room.name)} imports {escape(target.room.name)}</title></circle>"
        )
    return out


def join_offset(box: Box, boxes: list[Box], target: str) -> int:
    """How far below its top a box's line to `target` leaves it: the lines are spread, under the arrow's
    place.
    """
    targets = [other.room.name for other in boxes if other.room.name in box.room.imports]
    first = PAD + 14
    return first + round((box.height - first - 8) * targets.index(target) / max(len(targets), 1))


def draw_box(box: Box) -> list[str]:
    """One room with its text."""
    y = box.top + PAD + 10
    out = [
        f'<rect class="box" x="{MARGIN}" y="{box.top}" width="{BOX_WIDTH}" height="{box.height}" rx="5"/>',
        f'<text class="name" x="{MARGIN + PAD}" y="{y}">{escape(box.room.name)}</text>',
    ]
    for number, (style, line) in enumerate(box.lines, start=1):
        out.append(f'<text class="{style}" x="{MARGIN + PAD}" y="{y + LINE * number}">{escape(line)}</text>')
    return out


def main(arguments: list[str]) -> None:
    """Write the figure."""
    target = Path(arguments[0]) if arguments else OUT
    target.write_text(draw(read_rooms(ROOT)), encoding="utf-8")
    print(f"wrote {target}")


if __name__ == "__main__":
    main(sys.argv[1:])
