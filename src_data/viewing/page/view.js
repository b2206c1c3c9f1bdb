// The page at work: filters, search, and conversations that are drawn when somebody opens them.

const BATCH = 50;

function matches(chain, state) {
  if (state.source && chain.source !== state.source) return false;
  if (state.teacher && chain.teacher !== state.teacher) return false;
  if (state.outcome && chain.outcome !== state.outcome) return false;
  return state.words.every((word) => chain.hay.includes(word));
}

function hay(chain) {
  const texts = [chain.question, chain.answer, chain.golds.join(" "), chain.detail, chain.raw, chain.id, ...chain.steps.flatMap(stepTexts)];
  for (const step of chain.steps) for (const passage of step.passages || []) texts.push(passage.title, passage.id);
  return texts.join("\n").toLowerCase();
}

function counts(chains, key) {
  const found = new Map();
  for (const chain of chains) found.set(chain[key], (found.get(chain[key]) || 0) + 1);
  return [...found].sort((a, b) => b[1] - a[1]);
}

function start() {
  const chains = JSON.parse(byId("chains").textContent);
  const list = byId("list");
  const more = byId("more");
  const state = { source: "", teacher: "", outcome: "", words: [] };
  let found = [];
  let shown = 0;

  for (const chain of chains) chain.hay = hay(chain);

  function contents(chain) {
    const marks = { golds: goldPattern(chain.golds), words: wordPattern(state.words) };
    const plain = { golds: null, words: marks.words };
    return [el("div", { class: "body" },
      chain.raw ? null : drawGolds(chain.golds),
      el("ol", { class: "steps" }, chain.steps.map((step) => drawStep(step, { marks }))),
      chain.raw ? part("raw", "As it stood", prose(chain.raw, plain)) : null,
      chain.meaning || chain.detail ? part("outcome", chain.outcome, chain.meaning ? prose(chain.meaning, plain) : null, chain.detail ? prose(chain.detail, plain) : null) : null)];
  }

  function card(chain) {
    const kept = chain.kept === null ? null : chain.kept ? "good" : "bad";
    const f1 = chain.f1 === null ? "" : `F1 ${chain.f1.toFixed(2)}`;
    const question = el("span", { dir: "auto" }, marked(chain.question, { golds: null, words: wordPattern(state.words) }));
    return later("chain", [question, tags([[chain.outcome, kept], chain.source, chain.teacher, plural(chain.steps.length, "step"), f1, chain.id])], () => contents(chain));
  }

  function showMore() {
    list.append(...found.slice(shown, shown + BATCH).map(card));
    shown = Math.min(shown + BATCH, found.length);
    more.hidden = shown >= found.length;
    byId("count").textContent = `${found.length} of ${chains.length} conversations, ${shown} listed`;
  }

  function apply() {
    for (const key of ["source", "teacher", "outcome"]) state[key] = byId(key).value;
    state.words = wordsOf(byId("search").value);
    found = chains.filter((chain) => matches(chain, state));
    list.replaceChildren();
    shown = 0;
    showMore();
  }

  for (const key of ["source", "teacher", "outcome"]) {
    for (const [name, n] of counts(chains, key)) {
      const option = el("option", {}, `${name} (${n})`);
      option.value = name; // as it stands: `el` shows control characters as pictures
      byId(key).append(option);
    }
    byId(key).addEventListener("change", apply);
  }
  let timer = 0;
  byId("search").addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(apply, 150);
  });
  byId("open").addEventListener("click", () => {
    const boxes = [...list.children];
    const opening = boxes.some((box) => !box.open);
    for (const box of boxes) box.open = opening;
  });
  more.addEventListener("click", showMore);
  apply();
}

if (typeof document !== "undefined") start();
