// Two runs on the same questions.

const PAIRS = ["only-a", "only-b", "both", "neither", "one-sided"];
const PAIR_NAMES = { "only-a": "only A right", "only-b": "only B right", both: "both right", neither: "neither", "one-sided": "in one run" };

function pairOf(question, judge) {
  const [a, b] = question.rows.map((row) => verdict(row, judge));
  if (![a, b].every((one) => one === "right" || one === "wrong")) return "one-sided";
  if (a === b) return a === "right" ? "both" : "neither";
  return a === "right" ? "only-a" : "only-b";
}

function pairCounts(report) {
  const counts = new Map(PAIRS.map((pair) => [pair, 0]));
  for (const question of report.questions) {
    const pair = pairOf(question, report.judge);
    counts.set(pair, counts.get(pair) + 1);
  }
  return counts;
}

function drawPairs(report, pick) {
  // Two by two: who is right on what. Each number lists its questions.
  const counts = pairCounts(report);
  const shared = PAIRS.slice(0, 4).reduce((sum, pair) => sum + counts.get(pair), 0);
  const cell = (pair) => {
    const share = shared ? counts.get(pair) / shared : 0;
    const click = () => pick("pair", pair);
    return el("td", {}, el("button", { type: "button", class: `pair ${pair}`, on: { click } }, el("b", {}, whole(counts.get(pair))), el("span", {}, `${PAIR_NAMES[pair]}, ${percent(share)} %`)));
  };
  return el("table", { class: "pairs" },
    el("caption", {}, `Head to head on ${plural(shared, "question")}`),
    el("tbody", {}, el("tr", {}, cell("both"), cell("only-a")), el("tr", {}, cell("only-b"), cell("neither"))));
}

function sideBySide(report, question, drawRow) {
  // One column for each run; a run that lacks the question says so.
  const columns = question.rows.map((row, at) => {
    const head = el("h3", { class: `run run-${at}` }, el("span", { class: "letter" }, report.letter(at)), ` ${report.runs[at].name}`);
    return el("section", { class: "column" }, head, row ? drawRow(row, at) : el("p", { class: "none" }, "This run lacks the question."));
  });
  return el("div", { class: "columns" }, columns);
}
