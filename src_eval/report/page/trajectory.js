// One question in full: what was asked, what came out, and every step on the way.

function drawTags(question) {
  const link = el("a", { class: "id", href: address(question.key), title: "link to this question" }, `#${short(question.key, 40)}`);
  return tags([question.source, question.group, question.hops ? plural(question.hops, "hop") : ""], link);
}

function drawQuestion(report, question, words) {
  const marks = { golds: goldPattern(question.golds), words: wordPattern(words) };
  const plain = { golds: null, words: marks.words };
  const draw = (row) => drawRow(report, question, row, { marks, plain });
  return [
    el("h2", { class: "asked", dir: "auto" }, marked(short(question.question, 2000), plain)),
    drawGolds(question.golds),
    report.two ? sideBySide(report, question, draw) : draw(question.rows[0]),
  ];
}

function drawRow(report, question, row, { marks, plain }) {
  const judged = verdict(row, report.judge);
  const ending = [row.status.replaceAll("_", " "), row.failed ? "bad" : row.capped || row.malformed ? "warn" : null];
  const passage = ([at, scores]) => ({ id: report.passages[at][0], title: report.passages[at][1], text: report.passages[at][2], scores });
  const steps = row.steps.map((step) => ({ ...step, passages: step.passages && step.passages.map(passage) }));
  return el("div", {},
    el("div", { class: `answer ${judged}` }, drawAnswer(`Answer, ${judged}`, row.answer, plain)),
    row.withheld ? part("withheld", "Withheld answer", prose(row.withheld, plain)) : null,
    tags([ending, ...metricTags(row)]),
    row.error ? part("error", "Error", prose(row.error, plain)) : null,
    support(report, question, row),
    row.malformed_replies ? drawMalformed(row.malformed_replies) : null,
    row.tree ? drawTree(row.tree) : null,
    el("ol", { class: "steps" }, steps.map((step) => drawStep(step, { marks, gold: question.gold }))),
    el("p", { class: "dim cost" }, cost(row.usage, row.seconds), row.parse_failures.length ? `, malformed replies: ${row.parse_failures.slice(0, 20).map((code) => short(code, 60)).join(", ")}` : ""));
}

function metricTags(row) {
  // What became of an answer is one of four outcomes: the tags of the other three would say nothing.
  const named = (name) => isShare(name) && !(/^(answered|abstained)_/.test(name) && !row.metrics[name]) && !["coverage", "em_answered"].includes(name);
  return Object.keys(row.metrics).filter(named).map((name) => `${metricName(name)} ${metricText(name, row.metrics[name])}`);
}

function support(report, question, row) {
  // Which gold passages came back, and in which step first.
  if (!question.supporting.length || !row.steps.length) return null;
  const first = new Map();
  for (const step of row.steps) {
    for (const [at] of step.passages || []) {
      const [id, title] = report.passages[at];
      if (question.gold.has(id) && !first.has(id)) first.set(id, { n: step.n, title });
    }
  }
  const entries = question.supporting.slice(0, 30).map((id) => {
    const found = first.get(id);
    return el("li", { class: found ? "found" : "lacking" }, found ? `${short(found.title || id, 80)}, step ${found.n}` : `${short(id, 80)}, not found`);
  });
  return el("div", { class: "support" }, el("span", { class: "label" }, `Gold passages: ${first.size} of ${question.gold.size} found`), el("ul", {}, entries));
}
