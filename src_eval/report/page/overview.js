// The head of the page: what was run, what it scored, the plots.

const PAIRED = "B − A is over the questions for which both runs have the value (“both” under n); each mean is over all questions of its own run";
const HEADLINES = ["em", "f1", "acc_l", "cover_em", "recall", "searches", "seconds"];

function drawOverview(report, act) {
  // act: {pick(facet, value), pickGroup(label, test), judge(name)}. Returns what has to be drawn once it is on screen.
  const plots = drawPlots(report, act.pickGroup);
  byId("overview").replaceChildren(...[
    el("div", { class: "titles" }, report.runs.map((run, at) => title(report, run, at))),
    ...banners(report),
    tiles(report),
    el("div", { class: "sheet" }, el("section", { class: "card" }, el("h2", {}, "Scores"), scoreTable(report), judgeChoice(report, act.judge)),
      el("section", { class: "card" }, report.two ? drawPairs(report, act.pick) : null, report.runs.map((run, at) => factList(report, run, at)))),
    el("div", { class: `plots n-${plots.length}` }, plots.map((plot) => plot.node)),
  ]);
  for (const plot of plots) plot.draw();
  return plots;
}

function title(report, run, at) {
  const letter = report.two ? el("span", { class: `letter run-${at}` }, report.letter(at)) : null;
  const parts = [run.method, run.model, run.dataset].filter((part) => part).join(" · ");
  return el("div", {}, el("h1", {}, letter, run.name), el("p", { class: "dim" }, parts));
}

function banners(report) {
  // What no figure below says: questions that failed are in all of them, as wrong answers.
  return report.runs.map((run, at) => run.failures && el("p", { class: "banner", role: "alert" }, report.two ? el("span", { class: `letter run-${at}` }, report.letter(at)) : null, `${run.failures}.`)).filter((one) => one);
}

function tiles(report) {
  const names = HEADLINES.filter((name) => report.runs.some((run) => run.metrics[name])).slice(0, 6);
  return el("ul", { class: "tiles" }, names.map((name) => el("li", {}, el("span", { class: "label" }, metricHead(name)), report.runs.map((run, at) => {
    const estimate = run.metrics[name];
    const letter = report.two ? el("span", { class: `letter run-${at}` }, report.letter(at)) : null;
    if (!estimate) return el("span", { class: "figure" }, letter, el("b", {}, "–"));
    const [mean] = estimate;
    return el("span", { class: "figure" }, letter, el("b", {}, metricText(name, mean)), el("small", {}, rangeText(name, estimate)));
  }))));
}

function scoreTable(report) {
  const names = [...NAMED.keys()].filter((name) => report.runs.some((run) => run.metrics[name]));
  const columns = report.runs.flatMap((_, at) => [`${runName(report, at)}mean`, "95 % interval"]);
  const head = el("tr", {}, el("th", { scope: "col" }, "Metric"), columns.map((name) => el("th", { scope: "col" }, name)), report.two ? el("th", { scope: "col" }, el("abbr", { title: PAIRED }, "B − A")) : el("th", { scope: "col", class: "range" }, ""), el("th", { scope: "col" }, "n"));
  const body = names.map((name) => {
    const found = report.runs.map((run) => run.metrics[name]);
    const cells = found.flatMap((e) => (e ? [el("td", { class: "mean" }, metricText(name, e[0])), el("td", { class: "dim" }, rangeText(name, e))] : [el("td", {}, "–"), el("td", {}, "")]));
    const last = report.two ? el("td", {}, difference(name, report.paired[name])) : el("td", { class: "range" }, isShare(name) && found[0] && found[0][3] >= FEWEST ? whisker(found[0]) : null);
    return el("tr", {}, el("th", { scope: "row" }, metricHead(name)), cells, last, el("td", { class: "dim" }, counted(found, report.paired[name])));
  });
  const note = names.some((name) => isPartial(report.runs.map((run) => run.metrics[name]), report.paired[name])) ? el("p", { class: "dim paired" }, `${PAIRED[0].toUpperCase()}${PAIRED.slice(1)}.`) : null;
  return [el("div", { class: "scroll" }, el("table", { class: "scores" }, el("thead", {}, head), el("tbody", {}, body))), note, glossary(names)].filter((one) => one);
}

function isPartial(found, test) {
  // Whether a difference is over other questions than the means beside it.
  return Boolean(test) && found.some((e) => e && e[3] !== test[2]);
}

function counted(found, test) {
  // The questions behind each mean, and those behind the difference where they are others.
  const own = found.map((e) => (e ? whole(e[3]) : "–")).filter((n, at, all) => all.indexOf(n) === at).join(" / ");
  return isPartial(found, test) ? `${own}, both ${whole(test[2])}` : own;
}

function glossary(names) {
  const list = el("dl", {}, names.flatMap((name) => [el("dt", {}, metricName(name)), el("dd", {}, NAMED.get(name)[1])]));
  return el("details", { class: "glossary" }, el("summary", {}, "What these names mean"), list);
}

function rangeText(name, [, low, high, n]) {
  return n < FEWEST ? "too few" : `${metricText(name, low)} – ${metricText(name, high)}`;
}

function difference(name, test) {
  // Over the questions of both runs, with the p-value of the paired randomisation test.
  if (!test) return "–";
  const [gap, p, n] = test;
  const text = `${gap < 0 ? "−" : "+"}${metricText(name, Math.abs(gap))}`;
  if (n < FEWEST) return [text, " ", el("small", { class: "dim" }, "too few")];
  const tip = `paired randomisation test over ${whole(n)} questions, not corrected for the number of metrics`;
  return [text, " ", el("small", { class: p < 0.05 ? "" : "dim", title: tip }, p < 0.001 ? "p < .001" : `p = ${p.toFixed(3).replace(/^0/, "")}`)];
}

function whisker([mean, low, high]) {
  const x = (share) => 2 + 96 * Math.min(1, Math.max(0, share ?? mean));
  return svg("svg", { class: "whisk", viewBox: "0 0 100 12", "aria-hidden": "true" },
    svg("line", { class: "rail", x1: 2, x2: 98, y1: 6, y2: 6 }), svg("line", { class: "span", x1: x(low), x2: x(high), y1: 6, y2: 6 }), svg("circle", { cx: x(mean), cy: 6, r: 3.5 }));
}

function judgeChoice(report, choose) {
  if (report.judges.length < 2) return null;
  const options = report.judges.map((name) => el("option", { value: name, selected: name === report.judge }, metricName(name)));
  return el("label", { class: "pick" }, "An answer is right by ", el("select", { id: "judge", on: { change: (event) => choose(event.target.value) } }, options));
}

function factList(report, run, at) {
  const head = report.two ? `How ${report.letter(at)} was made` : "How it was made";
  const list = el("dl", {}, run.facts.flatMap(([label, value]) => [el("dt", {}, label), el("dd", {}, value)]));
  return report.two ? el("details", {}, el("summary", {}, head), list) : el("div", {}, el("h2", {}, head), list);
}
