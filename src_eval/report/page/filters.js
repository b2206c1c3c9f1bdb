// Which questions are listed, and in which order. A question passes when each facet that has something picked
// holds one of its values; the count beside a value says how many it would list, all other facets as they are.

const ENDINGS = ["capped", "malformed", "failed"];

function makeFacets(report) {
  const facets = [];
  if (report.two) facets.push({ key: "pair", chips: true, values: PAIRS, names: PAIR_NAMES, of: (q) => [pairOf(q, report.judge)] });
  else facets.push({ key: "verdict", chips: true, values: ["right", "wrong", "unscored"], of: (q) => [verdict(q.rows[0], report.judge)] });
  facets.push({ key: "ending", chips: true, values: ENDINGS, tips: report.endings, of: endings });
  for (const [key, all] of [["source", "every source"], ["group", "every group"], ["hops", "any number of hops"]]) {
    const of = (q) => [q[key] === null || q[key] === "" ? "" : String(q[key])];
    const values = [...new Set(report.questions.flatMap(of))].filter((value) => value).sort(natural);
    if (values.length > 1) facets.push({ key, all, values, of });
  }
  return facets;
}

function endings(question) {
  return ENDINGS.filter((name) => question.rows.some((row) => row && row[name]));
}

function natural(a, b) {
  return a.localeCompare(b, "en", { numeric: true });
}

function newState() {
  return { picked: new Map(), words: [], deep: false, sort: "file", group: null };
}

function makeTest(report, facets, state) {
  // passes(question, but): `but` is a facet that is not asked.
  const places = state.deep ? state.words.map((word) => passagesWith(report, word)) : [];
  return (question, but) => {
    for (const facet of facets) {
      const picked = state.picked.get(facet.key);
      if (facet !== but && picked && picked.size && !facet.of(question).some((value) => picked.has(value))) return false;
    }
    if (state.group && !state.group.test(question)) return false;
    return state.words.every((word, at) => textOf(question).includes(word) || (state.deep && shows(question, places[at])));
  };
}

function countValues(report, facet, passes) {
  const counts = new Map(facet.values.map((value) => [value, 0]));
  for (const question of report.questions) {
    if (!passes(question, facet)) continue;
    for (const value of facet.of(question)) if (counts.has(value)) counts.set(value, counts.get(value) + 1);
  }
  return counts;
}

function makeSorts(report) {
  // Name and key of each order; a key sorts downwards, the order of the file decides between equals.
  const most = (value) => (q) => Math.max(...q.rows.map((row) => (row ? value(row) : -Infinity)));
  const sorts = new Map([["file", ["as in the file", () => 0]]]);
  if (report.two) {
    const gap = (q) => (q.rows[0] && q.rows[1] ? (q.rows[0].metrics.f1 || 0) - (q.rows[1].metrics.f1 || 0) : 0);
    sorts.set("a", ["F1: A ahead first", gap]);
    sorts.set("b", ["F1: B ahead first", (q) => -gap(q)]);
  } else {
    sorts.set("f1-low", ["lowest F1 first", (q) => -(q.rows[0].metrics.f1 ?? 2)]);
    sorts.set("f1-high", ["highest F1 first", (q) => q.rows[0].metrics.f1 ?? -1]);
  }
  sorts.set("searches", ["most searches first", most((row) => row.searches)]);
  sorts.set("seconds", ["slowest first", most((row) => row.seconds || 0)]);
  sorts.set("tokens", ["most tokens first", most((row) => row.usage[1] + row.usage[2])]);
  return sorts;
}

function listed(report, passes, sort) {
  const found = report.questions.filter((question) => passes(question, null)).map((question) => [sort(question), question]);
  found.sort((a, b) => b[0] - a[0] || a[1].at - b[1].at);
  return found.map(([, question]) => question);
}

function drawFacets(report, facets, state, passes, changed) {
  // The chips and lists, with counts; `changed` is called when somebody picked something.
  const box = byId("facets");
  const focused = document.activeElement && document.activeElement.dataset ? document.activeElement.dataset.at : undefined;
  box.replaceChildren(...facets.map((facet) => (facet.chips ? chips : choices)(facet, countValues(report, facet, passes))));
  if (state.group) {
    const off = () => changed(() => (state.group = null));
    box.append(el("button", { type: "button", class: "chip group", "aria-pressed": "true", title: "take this condition away", on: { click: off } }, state.group.label, " ×"));
  }
  if (focused) for (const node of box.querySelectorAll("[data-at]")) if (node.dataset.at === focused) node.focus();

  function pickedOf(facet) {
    if (!state.picked.has(facet.key)) state.picked.set(facet.key, new Set());
    return state.picked.get(facet.key);
  }

  function chips(facet, counts) {
    const picked = pickedOf(facet);
    const nodes = facet.values.filter((value) => counts.get(value) || picked.has(value) || !report.optional.has(value)).map((value) => {
      const flip = () => changed(() => (picked.has(value) ? picked.delete(value) : picked.add(value)));
      const mark = { type: "button", title: (facet.tips || {})[value], class: `chip ${value}`, "aria-pressed": String(picked.has(value)), "data-at": `${facet.key} ${value}`, on: { click: flip } };
      return el("button", mark, (facet.names || {})[value] || value, el("span", { class: "n" }, whole(counts.get(value))));
    });
    return el("span", { class: "chips", role: "group" }, nodes);
  }

  function choices(facet, counts) {
    const picked = pickedOf(facet);
    const choose = (event) => changed(() => {
      picked.clear();
      if (event.target.value) picked.add(event.target.value);
    });
    const options = facet.values.map((value) => el("option", { value, selected: picked.has(value) }, `${short(value, 60)} (${whole(counts.get(value))})`));
    return el("select", { "aria-label": facet.key, "data-at": facet.key, on: { change: choose } }, el("option", { value: "" }, facet.all), options);
  }
}
