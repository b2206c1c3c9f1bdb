// One question in full: what was asked, what came out, and every step on the way.

function drawTags(question) {
  const tags = [question.source, question.group, question.hops ? plural(question.hops, "hop") : ""].filter((tag) => tag);
  const link = el("a", { class: "id", href: address(question.key), title: "link to this question" }, `#${short(question.key, 40)}`);
  return el("p", { class: "tags" }, tags.map((tag) => el("span", {}, short(tag, 60))), link);
}

function drawQuestion(report, question, words) {
  const marks = { golds: goldPattern(question.golds), words: wordPattern(words) };
  const plain = { golds: null, words: marks.words };
  const draw = (row, at) => drawRow(report, question, row, { marks, plain });
  return [
    el("h2", { class: "asked", dir: "auto" }, marked(short(question.question, 2000), plain)),
    question.golds.length ? el("p", { class: "golds" }, el("span", { class: "label" }, "Gold"), question.golds.slice(0, 20).map((gold) => el("mark", { class: "gold", dir: "auto" }, short(gold, 300)))) : el("p", { class: "golds dim" }, "No gold answer is known."),
    report.two ? sideBySide(report, question, draw) : draw(question.rows[0], 0),
  ];
}

function drawRow(report, question, row, ways) {
  const judged = verdict(row, report.judge);
  return el("div", {},
    el("div", { class: `answer ${judged}` }, el("span", { class: "label" }, `Answer, ${judged}`), row.answer ? prose(row.answer, ways.plain) : el("p", { class: "dim" }, "(none)")),
    el("p", { class: "tags" }, el("span", { class: row.failed ? "bad" : row.capped || row.malformed ? "warn" : "" }, row.status.replaceAll("_", " ")), metricTags(row)),
    row.error ? el("div", { class: "part error" }, el("h4", {}, "Error"), prose(row.error, ways.plain)) : null,
    support(report, question, row),
    el("ol", { class: "steps" }, row.steps.map((step) => drawStep(report, question, step, ways))),
    el("p", { class: "dim cost" }, cost(row.usage, row.seconds), row.parse_failures.length ? `, malformed replies: ${row.parse_failures.slice(0, 20).map((code) => short(code, 60)).join(", ")}` : ""));
}

function metricTags(row) {
  return Object.keys(row.metrics).filter(isShare).map((name) => el("span", {}, `${metricName(name)} ${metricText(name, row.metrics[name])}`));
}

function cost([calls, prompt, completion], seconds) {
  return `${decimals(seconds, 1)} s, ${plural(calls, "call")}, ${whole(prompt)} tokens read, ${whole(completion)} written`;
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

function drawStep(report, question, step, { marks, plain }) {
  const notes = [];
  if (step.repeated) notes.push("asked before");
  for (const name of step.parse_fixes || []) notes.push(`repaired: ${name.replaceAll("_", " ")}`);
  if (step.parse_failures) notes.push(plural(step.parse_failures, "malformed reply before", "malformed replies before"));
  return el("li", { class: "step" },
    el("p", { class: "step-head" }, el("b", {}, `Step ${step.n}`), notes.map((note) => el("span", { class: "warn" }, short(note, 80))), el("small", { class: "dim" }, `${decimals(step.seconds, 1)} s · ${whole(step.usage[1])} + ${whole(step.usage[2])} tokens`)),
    step.think ? folded("Thinking", step.think, plain) : null,
    step.thought ? el("div", { class: "part thought" }, el("h4", {}, "Thought"), prose(step.thought, plain)) : null,
    el("div", { class: `part ${step.act}` }, el("h4", {}, step.act === "search" ? "Search" : "Finish"), prose(step.argument, plain)),
    step.seen !== undefined ? el("div", { class: "part seen" }, el("h4", {}, "Observation"), prose(step.seen, marks)) : null,
    step.passages ? drawPassages(report, question, step.passages, marks) : null,
    step.reply ? folded("Reply as it came", step.reply, plain) : null);
}

function folded(name, text, marks) {
  // A part that is built when somebody opens it.
  const node = el("details", { class: "folded" }, el("summary", {}, name, el("small", { class: "dim" }, ` ${whole(text.length)} characters`)));
  node.addEventListener("toggle", () => node.open && node.children.length === 1 && node.append(prose(text, marks)));
  return node;
}

function drawPassages(report, question, places, marks) {
  // The passages behind an observation: titles at once, texts when somebody opens them.
  const passages = places.map(([at, scores]) => ({ id: report.passages[at][0], title: report.passages[at][1], text: report.passages[at][2], scores }));
  const gold = passages.filter((passage) => question.gold.has(passage.id)).length;
  const titles = passages.map((passage) => el("span", { class: question.gold.has(passage.id) ? "chiplet is-gold" : "chiplet" }, short(passage.title || passage.id, 60)));
  const head = el("summary", {}, el("b", {}, plural(passages.length, "passage")), gold ? `, ${gold} gold` : "", el("span", { class: "chiplets" }, titles));
  const node = el("details", { class: "passages" }, head);
  node.addEventListener("toggle", () => {
    if (node.open && node.children.length === 1) for (const passage of passages) node.append(drawPassage(passage, question.gold.has(passage.id), marks));
  });
  return node;
}

function drawPassage(passage, isGold, marks) {
  const badge = isGold ? el("span", { class: "badge", title: "the set names this passage as support" }, "gold support") : null;
  const scores = Object.entries(passage.scores).map(([name, value]) => ` · ${name} ${decimals(value, 2)}`).join("");
  return el("div", { class: isGold ? "passage is-gold" : "passage" },
    el("p", { class: "passage-head" }, el("b", { dir: "auto" }, short(passage.title || "(untitled)", 200)), badge, el("small", { class: "dim" }, `${short(passage.id, 60)}${scores}`)),
    prose(passage.text, marks));
}
