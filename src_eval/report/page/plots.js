// The plots of the overview: what they show is counted here, how they look is in svg.js.

const LAST = 12; // more searches or steps than this share one bar
const BINS = 20;

function tally(report, value, parts) {
  // Map value -> one {n, right, wrong, unscored} for each run.
  const found = new Map();
  report.runs.forEach((_, at) => {
    for (const { row } of rowsOf(report, at)) {
      const key = value(row);
      if (!found.has(key)) found.set(key, report.runs.map(() => ({ n: 0, right: 0, wrong: 0, unscored: 0 })));
      const cell = found.get(key)[at];
      cell.n += 1;
      cell[verdict(row, report.judge)] += 1;
    }
  });
  return parts ? new Map(parts.map((key) => [key, found.get(key) || report.runs.map(() => ({ n: 0, right: 0, wrong: 0, unscored: 0 }))])) : found;
}

function upTo(found) {
  const keys = [...found];
  const from = Math.min(...keys);
  return keys.length ? Array.from({ length: Math.max(...keys) - from + 1 }, (_, at) => from + at) : [];
}

function runName(report, at) {
  return report.two ? `${report.letter(at)} ` : "";
}

function heads(report, names) {
  return report.runs.flatMap((_, at) => names.map((name) => `${runName(report, at)}${name}`));
}

function withInterval(what, counts) {
  // The caption of a plot; below FEWEST questions no bar has an interval.
  return counts.some((n) => n >= FEWEST) ? `${what} with its 95 % interval` : what;
}

function shareBar(report, cell, at, label) {
  const known = cell.right + cell.wrong;
  if (!known) return { parts: [], tip: `${runName(report, at)}${label}: none` };
  const [low, high] = wilson(cell.right, known);
  const tip = `${runName(report, at)}${label}: ${percent(cell.right / known)} % of ${known}`;
  const spread = known < FEWEST ? {} : { low, high };
  return { parts: [{ value: cell.right / known, name: report.two ? `run-${at}` : "plain" }], ...spread, tip };
}

function searchesPlot(report, pickGroup) {
  const value = (row) => Math.min(row.searches, LAST);
  const found = tally(report, value);
  const name = metricName(report.judge);
  return {
    id: "plot-searches",
    title: `${name} by searches`,
    summary: withInterval("Share of right answers", [...found.values()].flat().map((cell) => cell.right + cell.wrong)),
    x: "searches", y: "% right", percent: true, numbers: true,
    columns: ["searches", ...heads(report, ["questions", "right", "% right [95 %]"])],
    groups: upTo(found.keys()).map((key) => {
      const cells = found.get(key) || report.runs.map(() => ({ n: 0, right: 0, wrong: 0 }));
      const label = key === LAST ? `${LAST}+` : String(key);
      return {
        label,
        bars: cells.map((cell, at) => shareBar(report, cell, at, plural(key, "search", "searches"))),
        cells: cells.flatMap((cell) => shareCells(report, cell)),
        pick: () => pickGroup(plural(key, "search", "searches"), (q) => q.rows.some((row) => row && value(row) === key)),
      };
    }),
  };
}

function shareCells(report, cell) {
  const known = cell.right + cell.wrong;
  const [low, high] = wilson(cell.right, known);
  return [whole(cell.n), whole(cell.right), known ? estimateText(report.judge, [cell.right / known, low, high, known]) : "–"];
}

function stepsPlot(report, pickGroup) {
  const value = (row) => Math.min(row.steps.length, LAST);
  const keys = upTo(tally(report, value).keys());
  const found = tally(report, value, keys);
  return {
    id: "plot-steps",
    title: "Length of the chains",
    summary: "Questions by number of steps, right below wrong",
    x: "steps", y: "questions", numbers: true,
    columns: ["steps", ...heads(report, ["right", "wrong", "unscored"])],
    groups: keys.map((key) => ({
      label: key === LAST ? `${LAST}+` : String(key),
      bars: found.get(key).map((cell, at) => ({
        parts: ["right", "wrong", "unscored"].map((name) => ({ value: cell[name], name })),
        tip: `${runName(report, at)}${plural(key, "step")}: ${cell.right} right, ${cell.wrong} wrong`,
      })),
      cells: found.get(key).flatMap((cell) => [cell.right, cell.wrong, cell.unscored].map(whole)),
      pick: () => pickGroup(plural(key, "step"), (q) => q.rows.some((row) => row && value(row) === key)),
    })),
  };
}

function secondsPlot(report, pickGroup) {
  const times = report.runs.map((_, at) => rowsOf(report, at).map(({ row }) => row.seconds || 0).sort((a, b) => a - b));
  const step = niceStep(Math.max(...times.map((sorted) => quantile(sorted, 0.98)), 0.01), BINS / report.runs.length);
  const last = Math.floor(Math.max(...times.map((sorted) => quantile(sorted, 0.98))) / step);
  const bin = (row) => Math.min(Math.floor((row.seconds || 0) / step), last);
  const found = tally(report, bin, Array.from({ length: last + 1 }, (_, at) => at));
  const text = (n) => String(Number((n * step).toPrecision(3)));
  const texts = times.map((sorted, at) => `${runName(report, at)}median ${decimals(quantile(sorted, 0.5), 1)} s, 95th percentile ${decimals(quantile(sorted, 0.95), 1)} s`);
  return {
    id: "plot-seconds",
    title: "Time for one question",
    summary: texts.join("; "),
    x: "seconds, from", y: "questions", numbers: true,
    columns: ["seconds", ...heads(report, ["questions"])],
    groups: [...found].map(([at, cells]) => {
      const label = at === last ? `${text(at)}+` : text(at);
      const range = at === last ? `${text(at)} s and more` : `${text(at)} to ${text(at + 1)} s`;
      return {
        label,
        bars: cells.map((cell, run) => ({ parts: [{ value: cell.n, name: report.two ? `run-${run}` : "plain" }], tip: `${runName(report, run)}${range}: ${cell.n}` })),
        cells: cells.map((cell) => whole(cell.n)),
        pick: () => pickGroup(range, (q) => q.rows.some((row) => row && bin(row) === at)),
      };
    }),
  };
}

function groupPlot(report, by, pickGroup) {
  // Accuracy by hops, group or source, with the intervals of the scores; null where there is but one group.
  const names = [...new Set(report.runs.flatMap((run) => Object.keys(run.by[by] || {})))].sort(natural);
  if (names.length < 2) return null;
  const of = (at, name) => ((report.runs[at].by[by] || {})[name] || {})[report.judge];
  return {
    id: `plot-${by}`,
    title: `${metricName(report.judge)} by ${by}`,
    summary: withInterval("Mean of each group", report.runs.flatMap((_, at) => names.map((name) => (of(at, name) || [])[3]))),
    x: by, y: "% right", percent: true,
    columns: [by, ...heads(report, ["questions", "% right [95 %]"])],
    groups: names.map((name) => ({
      label: name,
      bars: report.runs.map((_, at) => groupBar(report, of(at, name), at, name)),
      cells: report.runs.flatMap((_, at) => (of(at, name) ? [whole(of(at, name)[3]), estimateText(report.judge, of(at, name))] : ["0", "–"])),
      pick: () => pickGroup(`${by} ${name}`, (q) => String(q[by]) === name),
    })),
  };
}

function groupBar(report, estimate, at, name) {
  if (!estimate) return { parts: [], tip: `${runName(report, at)}${name}: none` };
  const [mean, low, high, n] = estimate;
  const tip = `${runName(report, at)}${name}: ${percent(mean)} % of ${n}`;
  const spread = n < FEWEST ? {} : { low: low ?? mean, high: high ?? mean };
  return { parts: [{ value: mean, name: report.two ? `run-${at}` : "plain" }], ...spread, tip };
}

function estimateText(name, [mean, low, high, n]) {
  const range = n < FEWEST ? "(too few)" : `[${metricText(name, low)}, ${metricText(name, high)}]`;
  return `${metricText(name, mean)} ${range}`;
}

function drawPlots(report, pickGroup) {
  const plots = [searchesPlot(report, pickGroup), stepsPlot(report, pickGroup), secondsPlot(report, pickGroup)];
  const groups = ["hops", "group", "source"].map((by) => groupPlot(report, by, pickGroup)).filter((plot) => plot);
  return [...plots, ...groups.slice(0, 3)].map((plot) => figure(plot, legend(report, plot)));
}

function legend(report, plot) {
  const stacked = plot.id === "plot-steps";
  const entries = stacked ? [["right", "right"], ["wrong", "wrong"]] : report.two ? report.runs.map((run, at) => [`run-${at}`, `${report.letter(at)} ${short(run.name, 30)}`]) : [];
  if (!entries.length) return null;
  const note = stacked && report.two ? el("span", {}, "left bar A, right bar B") : null;
  return el("p", { class: "legend" }, entries.map(([name, text]) => el("span", {}, el("i", { class: name }), text)), note);
}
