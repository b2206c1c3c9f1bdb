"use strict";
// The page shows what people and models wrote: every text goes in through textContent, never as markup.

const BATCH = 50;

function matches(chain, state) {
  if (state.source && chain.source !== state.source) return false;
  if (state.teacher && chain.teacher !== state.teacher) return false;
  if (state.outcome && chain.outcome !== state.outcome) return false;
  return state.words.every((word) => chain.hay.includes(word));
}

function hay(chain) {
  const texts = [chain.question, chain.answer, chain.golds.join(" "), chain.detail, chain.raw, chain.id];
  for (const step of chain.steps) texts.push(step.thought, step.argument, step.seen || "", step.from.join(" "));
  return texts.join("\n").toLowerCase();
}

function pieces(text, words) {
  // The text cut into [part, is a match], so that matches can be marked.
  const found = words.filter((word) => word);
  if (!found.length) return [[text, false]];
  const escaped = found.map((word) => word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  return text.split(new RegExp(`(${escaped.join("|")})`, "gi")).map((part, i) => [part, i % 2 === 1]);
}

function counts(chains, key) {
  const found = new Map();
  for (const chain of chains) found.set(chain[key], (found.get(chain[key]) || 0) + 1);
  return [...found].sort((a, b) => b[1] - a[1]);
}

function start() {
  const byId = (id) => document.getElementById(id);
  const chains = JSON.parse(byId("chains").textContent);
  const list = byId("list");
  const more = byId("more");
  const state = { source: "", teacher: "", outcome: "", words: [] };
  let found = [];
  let shown = 0;

  for (const chain of chains) chain.hay = hay(chain);

  function put(parent, tag, text, name, words) {
    const node = document.createElement(tag);
    if (name) node.className = name;
    for (const [part, isMatch] of pieces(text || "", words || [])) {
      if (isMatch) put(node, "mark", part);
      else node.append(part);
    }
    parent.append(node);
    return node;
  }

  function part(parent, name, label, text, small) {
    const box = put(parent, "div", "", `part ${name}`);
    put(box, "b", label);
    put(box, "p", text, "", state.words);
    if (small) put(box, "small", small, "", state.words);
  }

  function fill(body, chain) {
    for (const step of chain.steps) {
      if (step.thought) part(body, "thought", `Thought ${step.n}`, step.thought);
      part(body, "action", `${step.kind} ${step.n}`, step.argument);
      if (step.seen !== null) part(body, "seen", `Observation ${step.n}`, step.seen, step.from.join(" · "));
    }
    if (chain.raw) part(body, "verdict", "As it stood", chain.raw);
    if (chain.golds.length) part(body, "verdict", "Gold", chain.golds.join(" | "));
    if (chain.detail) part(body, "verdict", chain.outcome, chain.detail);
  }

  function card(chain) {
    const box = put(list, "details", "");
    const head = put(box, "summary", "");
    put(head, "span", chain.question, "", state.words);
    const tags = put(head, "div", "", "tags");
    put(tags, "span", chain.outcome, chain.kept === false ? "refused" : chain.kept ? "kept" : "");
    put(tags, "span", chain.source);
    put(tags, "span", chain.teacher);
    put(tags, "span", `${chain.steps.length} steps`);
    if (chain.f1 !== null) put(tags, "span", `F1 ${chain.f1.toFixed(2)}`);
    put(tags, "span", chain.id);
    box.addEventListener("toggle", () => {
      if (box.open && !box.querySelector(".body")) fill(put(box, "div", "", "body"), chain);
    });
  }

  function showMore() {
    for (const chain of found.slice(shown, shown + BATCH)) card(chain);
    shown = Math.min(shown + BATCH, found.length);
    more.hidden = shown >= found.length;
    byId("count").textContent = `${found.length} of ${chains.length} conversations, ${shown} listed`;
  }

  function apply() {
    for (const key of ["source", "teacher", "outcome"]) state[key] = byId(key).value;
    state.words = byId("search").value.toLowerCase().split(/\s+/).filter((word) => word);
    found = chains.filter((chain) => matches(chain, state));
    list.replaceChildren();
    shown = 0;
    showMore();
  }

  for (const key of ["source", "teacher", "outcome"]) {
    for (const [name, n] of counts(chains, key)) put(byId(key), "option", `${name} (${n})`).value = name;
    byId(key).addEventListener("change", apply);
  }
  let timer = 0;
  byId("search").addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(apply, 150);
  });
  byId("open").addEventListener("click", () => {
    const boxes = [...list.querySelectorAll("details")];
    const opening = boxes.some((box) => !box.open);
    for (const box of boxes) box.open = opening;
  });
  more.addEventListener("click", showMore);
  apply();
}

if (typeof document !== "undefined") start();
