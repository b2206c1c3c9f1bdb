"use strict";
// What report, live page and data viewer share: texts, numbers, and a trajectory as elements. A plain script, no module:
// two pages hold it inside their one file, the live page loads it before its own modules.
// The pages show what people, models and corpora wrote: every text goes in as a text node, never as markup.

const SHOWN = 20000; // characters of one text that are put on screen before somebody asks for the rest
const PICTURES = 0x2400; // where Unicode keeps pictures of control characters
const NO_MARKS = { golds: null, words: null };
const ACTIONS = { search: "Search", direct_answer: "Direct answer", finish: "Finish" };

function byId(id) {
  return document.getElementById(id);
}

function visible(text) {
  // Control characters as pictures; marks that turn the reading direction around are not obeyed.
  return String(text)
    .replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f]/g, (c) => String.fromCharCode(PICTURES + c.charCodeAt(0)))
    .replace(/[\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g, "\ufffd");
}

function fill(node, children) {
  for (const child of children.flat()) {
    if (child === null || child === undefined || child === "") continue;
    node.append(child instanceof Node ? child : visible(child));
  }
  return node;
}

function set(node, attributes) {
  // `on` maps events to handlers; an attribute that is null, undefined or false is left out.
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "on") for (const [event, handler] of Object.entries(value)) node.addEventListener(event, handler);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(name, visible(value));
  }
  return node;
}

function el(tag, attributes, ...children) {
  return fill(set(document.createElement(tag), attributes || {}), children);
}

function literal(text) {
  return text.replace(/[.*+?^${}()|[\]\\/]/g, "\\$&").replace(/\s+/g, "\\s+");
}

function wordsOf(text) {
  // What is searched for: words, and "words in quotation marks" as they stand.
  const found = [...text.toLowerCase().matchAll(/"([^"]+)"|[^\s"]+/g)].map((match) => match[1] || match[0]);
  return found.slice(0, 20);
}

function wordPattern(words) {
  return words.length ? new RegExp(words.map(literal).join("|"), "giu") : null;
}

function goldPattern(golds) {
  // Gold answers as whole words. A yes or a no says nothing about where it stands, and is left out.
  const known = golds.map((gold) => gold.trim()).filter((gold) => gold && gold.length <= 200 && !/^(yes|no|true|false)$/i.test(gold));
  if (!known.length) return null;
  const parts = known.slice(0, 50).sort((a, b) => b.length - a.length).map(literal);
  const letter = "[\\p{Script=Latin}\\p{N}]";
  return new RegExp(`(?<!${letter})(?:${parts.join("|")})(?!${letter})`, "giu");
}

function cut(text, pattern) {
  // The text cut into [part, is a match].
  if (!pattern) return [[text, false]];
  const found = [];
  let end = 0;
  for (const match of text.matchAll(pattern)) {
    if (!match[0]) continue;
    if (match.index > end) found.push([text.slice(end, match.index), false]);
    found.push([match[0], true]);
    end = match.index + match[0].length;
  }
  if (end < text.length) found.push([text.slice(end), false]);
  return found;
}

function marked(text, marks) {
  // Nodes of a text in which gold answers and searched words are marked.
  const nodes = [];
  for (const [part, isGold] of cut(text, marks.golds)) {
    if (isGold) nodes.push(el("mark", { class: "gold", title: "a gold answer" }, part));
    else for (const [piece, isWord] of cut(part, marks.words)) nodes.push(isWord ? el("mark", {}, piece) : visible(piece));
  }
  return nodes;
}

function prose(text, marks, name) {
  // A paragraph of any length: the rest of a very long one comes when it is asked for.
  const node = el("p", { class: `prose ${name || ""}`, dir: "auto" }, marked(text.slice(0, SHOWN), marks));
  if (text.length <= SHOWN) return node;
  const more = el("button", { type: "button" }, `Show all ${whole(text.length)} characters`);
  more.addEventListener("click", () => {
    more.remove();
    node.append(visible(text.slice(SHOWN)));
  });
  return el("div", {}, node, more);
}

function short(text, length) {
  return text.length > length ? `${text.slice(0, length)}…` : text;
}

function whole(n) {
  return Math.round(n).toLocaleString("en");
}

function decimals(n, digits) {
  return n === null || n === undefined ? "–" : n.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

function percent(share) {
  return share === null || share === undefined ? "–" : (100 * share).toFixed(1);
}

function plural(n, one, many) {
  return `${whole(n)} ${n === 1 ? one : many || `${one}s`}`;
}

function searchesText(count, repeated) {
  // A query that was asked before counts as a search of the question, but was not searched again.
  return plural(count, "search", "searches") + (repeated ? ` (${whole(repeated)} asked before)` : "");
}

function duration(seconds) {
  if (seconds === null || seconds === undefined || seconds < 60) return `${decimals(seconds, 1)} s`;
  return `${Math.floor(seconds / 60)} min ${Math.floor(seconds % 60)} s`;
}

function cost([calls, prompt, completion], seconds) {
  return `${duration(seconds)}, ${plural(calls, "call")}, ${plural(prompt, "token")} read, ${whole(completion)} written`;
}

function tags(texts, ...more) {
  // Small labels in a row, each a text or [text, class]; empty ones are left out.
  const shown = texts.map((one) => [one].flat()).filter(([text]) => text);
  return el("div", { class: "tags" }, shown.map(([text, name]) => el("span", { class: name }, short(text, 60))), ...more);
}

function drawGolds(golds) {
  if (!golds.length) return el("p", { class: "golds dim" }, "No gold answer is known.");
  return el("p", { class: "golds" }, el("span", { class: "label" }, "Gold"), golds.slice(0, 20).map((gold) => el("mark", { class: "gold", dir: "auto" }, short(gold, 300))));
}

function drawAnswer(title, text, marks) {
  // What the box of an answer (class `answer`) holds.
  return [el("h3", { class: "label" }, title), text ? prose(text, marks) : el("p", { class: "dim" }, "(none)")];
}

function stepTexts(step) {
  // Where search looks.
  return [step.thought, step.sub_question, step.argument, step.observation, step.conclusion].filter((text) => text);
}

function drawStep(step, { marks = NO_MARKS, gold = new Set(), pending = "" } = {}) {
  // step: what `src_core/page_step.py` writes. Gold answers are marked in what was read, words everywhere; `gold` holds
  // ids of gold passages; `pending` is shown in place of an observation that is still to come.
  const plain = { golds: null, words: marks.words };
  const seen = step.observation || (step.function === "search" ? pending || "(nothing was observed)" : "");
  return el("li", { class: pending ? "step waiting" : "step", "data-n": step.n },
    drawStepHead(step),
    step.think ? folded("Thinking", step.think, plain) : null,
    step.thought ? part("thought", "Thought", prose(step.thought, plain)) : null,
    part(step.function, ACTIONS[step.function], step.sub_question ? prose(step.sub_question, plain) : null, prose(step.argument, plain, "argument")),
    seen ? part("seen", "Observation", prose(seen, marks)) : null,
    step.passages ? drawPassages(step.passages, gold, marks) : null,
    step.conclusion ? part("conclusion", "Conclusion", prose(step.conclusion, marks)) : null,
    step.reply ? folded("Reply as it came", step.reply, plain) : null);
}

function drawStepHead(step) {
  const notes = (step.parse_fixes || []).map((name) => `repaired: ${name.replaceAll("_", " ")}`);
  if (step.repeated) notes.unshift("asked before, not searched again");
  if (step.parse_failures) notes.push(plural(step.parse_failures, "malformed reply before", "malformed replies before"));
  const spent = [];
  if (step.seconds) spent.push(duration(step.seconds));
  if (step.usage) spent.push(`${whole(step.usage[1])} + ${whole(step.usage[2])} tokens`);
  return el("p", { class: "step-head" }, el("b", {}, `Step ${step.n}`), notes.map((note) => el("span", { class: "warn" }, short(note, 80))), el("small", { class: "dim" }, spent.join(" · ")));
}

function drawMalformed(replies) {
  // replies: what `malformed_page` of `src_core/malformed.py` returns, the first malformed replies of a question.
  const drawn = replies.map((reply) => [el("p", { class: "dim" }, `${short(reply.code, 60).replaceAll("_", " ")}:`), prose(reply.text || "(empty)", NO_MARKS)]);
  return later("folded", [replies.length > 1 ? `Malformed replies, the first ${replies.length}` : "Malformed reply as it came"], () => drawn.flat());
}

const BRANCHES = { root: "Question", direct: "Own knowledge", search: "Search", finish: "Answer" };

function drawTree(tree) {
  // tree: what `src_core/page_tree.py` writes. Branches that lead to the winning leaf are open and marked.
  if (tree.problem) return part("error", "Search tree", prose(tree.problem, NO_MARKS));
  const below = tree.nodes.map(() => []);
  tree.nodes.forEach((node, at) => node.parent >= 0 && below[node.parent].push(at));
  const leaves = tree.nodes.filter((node) => node.branch === "finish");
  const facts = [plural(tree.nodes.length + tree.hidden, "node"), plural(leaves.length, "answer"), tree.end];
  const summary = [el("b", {}, "Search tree"), el("small", { class: "dim" }, ` ${facts.filter((fact) => fact).join(", ")}`)];
  const cut = tree.hidden ? el("p", { class: "dim" }, `${plural(tree.hidden, "more node")} in the row of this question`) : null;
  return later("tree", summary, () => [drawBranch(tree.nodes, below, 0), cut].filter((node) => node));
}

function drawBranch(nodes, below, at) {
  // A node with what is below it, as nested lists; the depth is bounded where the data are made.
  const node = nodes[at];
  const lines = [drawTreeNode(node), below[at].length ? el("ul", {}, below[at].map((child) => drawBranch(nodes, below, child))) : null];
  return at ? el("li", { class: node.won ? "won" : "lost" }, lines) : el("div", { class: "branches" }, lines);
}

function drawTreeNode(node) {
  const end = node.won && node.branch === "finish" ? "the result" : node.lost;
  const facts = [node.searches ? plural(node.searches, "search", "searches") : "", node.score === undefined ? "" : `log P ${decimals(node.score, 2)}`];
  return el("p", { class: `node ${node.branch}`, dir: "auto" },
    el("b", {}, BRANCHES[node.branch]), " ", short(node.text, 400), node.answer ? [" → ", el("span", { class: "said" }, short(node.answer, 400))] : null,
    end ? el("span", { class: node.won ? "end good" : "end" }, short(end, 120)) : null,
    el("small", { class: "dim" }, facts.filter((fact) => fact).join(" · ")));
}

function part(name, title, ...children) {
  return el("div", { class: `part ${name}` }, el("h4", {}, title), ...children);
}

function later(name, summary, draw) {
  // A box whose contents are drawn when somebody opens it.
  const node = el("details", { class: name }, el("summary", {}, ...summary));
  node.addEventListener("toggle", () => node.open && node.children.length === 1 && node.append(...draw()));
  return node;
}

function folded(title, text, marks) {
  return later("folded", [title, el("small", { class: "dim" }, ` ${plural(text.length, "character")}`)], () => [prose(text, marks)]);
}

function drawPassages(passages, gold, marks) {
  // The passages behind an observation ({id, title, scores}, and text where the page holds it): titles at once.
  const count = passages.filter((passage) => gold.has(passage.id)).length;
  const titles = passages.map((passage) => el("span", { class: gold.has(passage.id) ? "chiplet is-gold" : "chiplet" }, marked(short(passage.title || passage.id, 60), { golds: null, words: marks.words })));
  const summary = [el("b", {}, plural(passages.length, "passage")), count ? `, ${count} gold` : "", el("span", { class: "chiplets" }, titles)];
  return later("passages", summary, () => passages.map((passage) => drawPassage(passage, gold.has(passage.id), marks)));
}

function drawPassage(passage, isGold, marks) {
  const badge = isGold ? el("span", { class: "badge", title: "the set names this passage as support" }, "gold support") : null;
  const about = [short(passage.id, 60), ...Object.entries(passage.scores || {}).map(([name, value]) => `${short(name, 40)} ${decimals(value, 3)}`)];
  return el("div", { class: isGold ? "passage is-gold" : "passage" },
    el("p", { class: "passage-head" }, el("b", { dir: "auto" }, short(passage.title || "(untitled)", 200)), badge, el("small", { class: "dim" }, about.join(" · "))),
    passage.text ? prose(passage.text, marks) : null);
}
