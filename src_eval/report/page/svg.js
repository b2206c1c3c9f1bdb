// One kind of plot is enough: groups of bars on an axis of categories, bars of one or more parts, whiskers.

const SPACE = { left: 46, right: 12, top: 14, bottom: 44 };
const HEIGHT = 230;

function svg(tag, attributes, ...children) {
  return fill(set(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes || {}), children);
}

function niceStep(most, lines) {
  const rough = most / lines || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  return power * ([1, 2, 5, 10].find((step) => step * power >= rough) || 10);
}

function barPlot(plot, width) {
  // plot: {id, title, summary, x, y, percent, groups: [{label, pick, bars: [{parts: [{value, name}], low, high, tip}]}]}
  const inner = { width: width - SPACE.left - SPACE.right, height: HEIGHT - SPACE.top - SPACE.bottom };
  const tops = plot.groups.flatMap((group) => group.bars.map((bar) => bar.high ?? total(bar)));
  const step = plot.percent ? 0.25 : Math.max(1, niceStep(Math.max(...tops, 1), 4)); // all other plots count questions
  const most = plot.percent ? 1 : Math.max(step, Math.ceil(Math.max(...tops, 0) / step) * step);
  const y = (value) => SPACE.top + inner.height * (1 - value / most);
  const root = svg("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, role: "img", "aria-labelledby": `${plot.id}-title ${plot.id}-desc` },
    svg("title", { id: `${plot.id}-title` }, plot.title), svg("desc", { id: `${plot.id}-desc` }, plot.summary));
  for (let value = 0; value <= most + step / 2; value += step) {
    root.append(svg("line", { class: "grid", x1: SPACE.left, x2: width - SPACE.right, y1: y(value), y2: y(value) }));
    root.append(svg("text", { class: "tick", x: SPACE.left - 6, y: y(value) + 4, "text-anchor": "end" }, plot.percent ? String(Math.round(100 * value)) : tickText(value)));
  }
  const slot = inner.width / Math.max(plot.groups.length, 1);
  const every = Math.max(1, Math.ceil(longest(plot.groups) * 7 / slot));
  const cut = every > 3 ? Math.max(6, Math.floor(slot / 6)) : 99; // long names are shortened, numbers skipped
  plot.groups.forEach((group, at) => {
    const left = SPACE.left + at * slot;
    root.append(drawGroup(group, { left, slot, y, zeros: plot.percent }));
    if (at % every === 0 || (cut < 99 && !plot.numbers)) {
      const label = plot.numbers ? group.label : short(group.label, cut);
      root.append(svg("text", { class: "tick", x: left + slot / 2, y: HEIGHT - SPACE.bottom + 16, "text-anchor": "middle" }, label));
    }
  });
  root.append(svg("text", { class: "axis", x: SPACE.left + inner.width / 2, y: HEIGHT - 8, "text-anchor": "middle" }, plot.x));
  const middle = SPACE.top + inner.height / 2;
  root.append(svg("text", { class: "axis", x: 12, y: middle, "text-anchor": "middle", transform: `rotate(-90 12 ${middle})` }, plot.y));
  return root;
}

function drawGroup(group, { left, slot, y, zeros }) {
  const wide = Math.min(slot * 0.78, 56 * group.bars.length);
  const each = wide / Math.max(group.bars.length, 1);
  const node = svg("g", { class: group.pick ? "bar can-pick" : "bar", on: group.pick ? { click: group.pick } : {} });
  group.bars.forEach((bar, at) => {
    const x = left + (slot - wide) / 2 + at * each + 1;
    const one = svg("g", {}, svg("title", {}, bar.tip));
    let below = 0;
    for (const part of bar.parts) {
      const top = y(below + part.value);
      one.append(svg("rect", { class: part.name, x, width: Math.max(each - 2, 1), y: top, height: Math.max(y(below) - top, 0) }));
      below += part.value;
    }
    if (zeros && bar.parts.length && !total(bar)) { // nothing right is a result: without a mark it looks like no result
      one.append(svg("rect", { class: bar.parts[0].name, x, width: Math.max(each - 2, 1), y: y(0) - 2, height: 2 }));
      one.append(svg("text", { class: "tick zero", x: x + (each - 2) / 2, y: y(bar.high ?? 0) - 5, "text-anchor": "middle" }, "0"));
    }
    if (bar.low !== undefined) {
      const middle = x + (each - 2) / 2;
      one.append(svg("line", { class: "whisker", x1: middle, x2: middle, y1: y(bar.low), y2: y(bar.high) }));
      for (const end of [bar.low, bar.high]) one.append(svg("line", { class: "whisker", x1: middle - 4, x2: middle + 4, y1: y(end), y2: y(end) }));
    }
    node.append(one);
  });
  return node;
}

function total(bar) {
  return bar.parts.reduce((sum, part) => sum + part.value, 0);
}

function longest(groups) {
  return Math.max(1, ...groups.map((group) => group.label.length));
}

function tickText(value) {
  return value >= 10000 ? `${Math.round(value / 1000)}k` : String(Math.round(value * 100) / 100);
}

function figure(plot, legend) {
  // The plot with its title, its legend and the same numbers as a table; it is drawn again when its width changes.
  const canvas = el("div", { class: "canvas" });
  const head = plot.columns.map((name) => el("th", { scope: "col" }, name));
  const body = plot.groups.map((group) => {
    const name = group.pick ? el("button", { type: "button", class: "link", on: { click: group.pick } }, group.label) : group.label;
    return el("tr", {}, el("th", { scope: "row" }, name), group.cells.map((text) => el("td", {}, text)));
  });
  const table = el("details", {}, el("summary", {}, "As a table"), el("div", { class: "scroll" }, el("table", {}, el("thead", {}, el("tr", {}, head)), el("tbody", {}, body))));
  let drawn = 0;
  const draw = () => {
    const width = Math.max(260, Math.min(640, Math.round(canvas.clientWidth || 480)));
    if (width !== drawn) canvas.replaceChildren(barPlot(plot, width));
    drawn = width;
  };
  const node = el("figure", { id: plot.id }, el("figcaption", {}, el("b", {}, plot.title), el("span", {}, plot.summary)), legend, canvas, table);
  return { node, draw };
}
