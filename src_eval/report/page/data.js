// The data of the page, and what can be said of a question without drawing anything.

const JUDGES = ["em", "cover_em", "acc_l"]; // metrics that call an answer right or wrong
let NAMED = new Map(); // metric -> [name, meaning, whether it is in [0, 1]], in the order of the tables
let FEWEST = 0; // questions below which no interval is shown, as in the tables

function metricName(name) {
  return NAMED.get(name)[0];
}

function metricHead(name) {
  // The name with its meaning for the mouse; the list below the scores has it for everybody.
  const [shown, meaning] = NAMED.get(name);
  return meaning ? el("abbr", { title: meaning }, shown) : shown;
}

function isShare(name) {
  return NAMED.get(name)[2];
}

function metricText(name, value) {
  if (value === null || value === undefined) return "–";
  if (isShare(name)) return percent(value);
  return name.endsWith("tokens") ? whole(value) : decimals(value, 2);
}

function address(key) {
  // A question's own link on this page, as the browser writes it.
  return new URL(`#${encodeURIComponent(key.replace(/[\ud800-\udfff]/gu, "\ufffd"))}`, location.href).hash;
}

function loadReport() {
  const report = JSON.parse(byId("data").textContent);
  NAMED = new Map(report.named);
  FEWEST = report.fewest;
  report.byAddress = new Map();
  for (const [at, question] of report.questions.entries()) {
    question.at = at;
    question.gold = new Set(question.supporting);
    report.byAddress.set(address(question.key), question);
    for (const row of question.rows) {
      if (!row) continue;
      const searches = row.steps.filter((step) => step.function === "search");
      row.searches = searches.length;
      row.repeated = searches.filter((step) => step.repeated).length;
      row.malformed = row.status.startsWith("malformed") || row.parse_failures.length > 0 || row.steps.some((step) => step.parse_failures);
      row.capped = report.capped.includes(row.status);
      row.failed = report.failed.includes(row.status);
    }
  }
  report.two = report.runs.length > 1;
  report.judges = JUDGES.filter((name) => report.questions.some((q) => q.rows.some((row) => row && name in row.metrics)));
  report.judge = report.judges[0] || "em";
  report.letter = (at) => (report.two ? "AB"[at] : "");
  return report;
}

function verdict(row, judge) {
  // right, wrong, unscored (no gold answer), or missing (the run lacks the question).
  if (!row) return "missing";
  const value = row.metrics[judge];
  if (value === undefined || value === null) return "unscored";
  return value >= 0.5 ? "right" : "wrong";
}

function rowsOf(report, at) {
  // The questions that run `at` answered, with their rows.
  const found = [];
  for (const question of report.questions) if (question.rows[at]) found.push({ question, row: question.rows[at] });
  return found;
}

function textOf(question) {
  // What search looks into, in lower case; made once, when somebody searches.
  if (question.text === undefined) {
    const texts = [question.id, question.question, ...question.golds, question.group, question.source];
    for (const row of question.rows) {
      if (!row) continue;
      texts.push(row.answer, row.error, row.status);
      texts.push(...row.steps.flatMap(stepTexts));
    }
    question.text = texts.join("\n").toLowerCase();
  }
  return question.text;
}

function passagesWith(report, word) {
  // Places of the passages that hold a word.
  if (!report.passageTexts) report.passageTexts = report.passages.map((passage) => passage.join("\n").toLowerCase());
  const found = new Set();
  report.passageTexts.forEach((text, at) => text.includes(word) && found.add(at));
  return found;
}

function shows(question, places) {
  return question.rows.some((row) => row && row.steps.some((step) => (step.passages || []).some(([at]) => places.has(at))));
}

function quantile(sorted, share) {
  // Between two values as numpy's default: of two the median is their mean.
  if (!sorted.length) return 0;
  const place = share * (sorted.length - 1);
  const [low, high] = [sorted[Math.floor(place)], sorted[Math.ceil(place)]];
  return low + (high - low) * (place - Math.floor(place));
}

function wilson(right, n) {
  // 95 % interval of a share (Wilson), for groups that the scores give no interval for.
  if (!n) return [0, 0];
  const z = 1.96;
  const p = right / n;
  const middle = (p + (z * z) / (2 * n)) / (1 + (z * z) / n);
  const half = (z / (1 + (z * z) / n)) * Math.sqrt((p * (1 - p)) / n + (z * z) / (4 * n * n));
  return [Math.max(0, middle - half), Math.min(1, middle + half)];
}
