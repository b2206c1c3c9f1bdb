// The page at work: the list, the open question, keys and links.

const PAGE = 50;

function start() {
  const report = loadReport();
  report.optional = new Set(["unscored", "one-sided"]); // said only where there are some
  const facets = makeFacets(report);
  const sorts = makeSorts(report);
  const state = newState();
  let found = [];
  let page = 0;
  let open = null;
  let plots = [];

  function overview() {
    plots = drawOverview(report, { pick, pickGroup, judge });
  }

  function apply() {
    const passes = makeTest(report, facets, state);
    found = listed(report, passes, sorts.get(state.sort)[1]);
    page = 0;
    drawFacets(report, facets, state, passes, changed);
    byId("count").textContent = `${whole(found.length)} of ${plural(report.questions.length, "question")}`;
    byId("clear").disabled = !(state.words.length || state.group || state.sort !== "file" || [...state.picked.values()].some((picked) => picked.size));
    drawList();
  }

  function changed(change) {
    change();
    apply();
  }

  function pick(facet, value) {
    changed(() => state.picked.set(facet, new Set([value])));
    byId("questions").scrollIntoView();
  }

  function pickGroup(label, test) {
    changed(() => (state.group = { label, test }));
    byId("questions").scrollIntoView();
  }

  function judge(name) {
    report.judge = name;
    overview();
    apply();
    if (open) show(open);
    byId("judge").focus();
  }

  function drawList() {
    const last = Math.max(0, Math.ceil(found.length / PAGE) - 1);
    page = Math.min(page, last);
    byId("list").replaceChildren(...found.slice(page * PAGE, (page + 1) * PAGE).map(entry));
    byId("page").textContent = found.length ? `${whole(page * PAGE + 1)}–${whole(Math.min(found.length, (page + 1) * PAGE))} of ${whole(found.length)}` : "no question matches";
    byId("before").disabled = page === 0;
    byId("after").disabled = page === last;
    position();
  }

  function turn(by) {
    page += by;
    drawList();
    byId("list").scrollTop = 0;
  }

  function entry(question) {
    const signs = question.rows.map((row, at) => sign(verdict(row, report.judge), report.letter(at)));
    const about = [...question.rows.map(inShort), ...endings(question)];
    const click = () => go(question.key);
    return el("li", {}, el("button", { type: "button", "data-key": question.key, "aria-current": question === open ? "true" : null, on: { click } },
      el("span", { class: "signs" }, signs),
      el("span", { class: "what" }, el("span", { class: "q", dir: "auto" }, marked(short(question.question, 300), { golds: null, words: wordPattern(state.words) })), el("small", { class: "dim" }, about.filter((part) => part).join(" · ")))));
  }

  function inShort(row, at) {
    if (!row) return "";
    const facts = [searchesText(row.searches, row.repeated), `${decimals(row.seconds, 1)} s`];
    return report.two ? `${report.letter(at)} ${facts.join(", ")}` : [short(row.answer || "(no answer)", 60), ...facts].join(" · ");
  }

  function sign(judged, letter) {
    const shape = { right: "✓", wrong: "✗", unscored: "·", missing: "–" }[judged];
    return el("span", { class: `sign ${judged}`, role: "img", "aria-label": `${letter} ${judged}`.trim() }, shape);
  }

  function show(question) {
    open = question;
    const at = byId("detail");
    const back = el("button", { type: "button", class: "back", on: { click: close } }, "‹ List");
    const before = el("button", { type: "button", "aria-label": "Previous question (k)", on: { click: () => move(-1) } }, "‹");
    const after = el("button", { type: "button", "aria-label": "Next question (j)", on: { click: () => move(1) } }, "›");
    const turn = el("div", { class: "turn" }, back, drawTags(question), el("span", { id: "place", class: "dim" }), before, after);
    at.replaceChildren(turn, ...drawQuestion(report, question, state.words));
    byId("bench").classList.add("open");
    position();
  }

  function position() {
    // Where the open question stands in the list, here and there.
    for (const node of byId("list").querySelectorAll("button")) {
      const isOpen = open && node.dataset.key === visible(open.key);
      if (!isOpen) node.removeAttribute("aria-current");
      else node.setAttribute("aria-current", "true");
      if (isOpen) keepInSight(node);
    }
    if (open) byId("place").textContent = found.includes(open) ? `${whole(found.indexOf(open) + 1)} of ${whole(found.length)}` : "not in this list";
  }

  function keepInSight(node) {
    const list = byId("list");
    const [top, bottom] = [node.offsetTop - list.offsetTop, node.offsetTop - list.offsetTop + node.offsetHeight];
    if (top < list.scrollTop) list.scrollTop = top;
    else if (bottom > list.scrollTop + list.clientHeight) list.scrollTop = bottom - list.clientHeight;
  }

  function go(key) {
    // Through the address, so that it can be sent to somebody and Back leads back. Its change is announced later:
    // a key pressed until then has to find this question open.
    location.hash = address(key);
    follow();
  }

  function follow() {
    const question = report.byAddress.get(location.hash);
    if (!question) return close();
    const at = found.indexOf(question);
    if (at >= 0 && Math.floor(at / PAGE) !== page) {
      page = Math.floor(at / PAGE);
      drawList();
    }
    show(question);
    byId("bench").scrollIntoView();
  }

  function close() {
    if (!open) return;
    open = null;
    byId("bench").classList.remove("open");
    rest();
    if (location.hash) history.replaceState(null, "", location.pathname + location.search);
    position();
  }

  function rest() {
    byId("detail").replaceChildren(el("p", { class: "none" }, "Choose a question to see every step of it."));
  }

  function move(by) {
    if (!found.length) return;
    const at = open ? found.indexOf(open) : -1;
    const next = found[Math.min(found.length - 1, Math.max(0, at + by))];
    if (next !== open) go(next.key);
  }

  function flipAll() {
    const boxes = [...byId("detail").querySelectorAll("details.passages")];
    const opening = boxes.some((box) => !box.open);
    for (const box of boxes) box.open = opening;
  }

  function onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape") return event.target === byId("search") ? byId("search").blur() : close();
    if (event.target.closest("input:not([type=checkbox]), select, textarea")) return;
    const keys = { j: () => move(1), k: () => move(-1), e: flipAll, "/": () => byId("search").focus() };
    if (!Object.hasOwn(keys, event.key)) return;
    event.preventDefault();
    keys[event.key]();
  }

  function clear() {
    byId("search").value = "";
    byId("deep").checked = false;
    byId("sort").value = "file";
    changed(() => Object.assign(state, newState()));
  }

  function search() {
    changed(() => {
      state.words = wordsOf(byId("search").value);
      state.deep = byId("deep").checked;
    });
    if (open) show(open);
  }

  let timer = 0;
  byId("search").addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(search, 150);
  });
  byId("deep").addEventListener("change", search);
  fill(byId("sort"), [...sorts].map(([value, [name]]) => el("option", { value }, name)));
  byId("sort").addEventListener("change", (event) => changed(() => (state.sort = event.target.value)));
  byId("clear").addEventListener("click", clear);
  byId("before").addEventListener("click", () => turn(-1));
  byId("after").addEventListener("click", () => turn(1));
  for (const part of ["overview", "questions"]) {
    byId(`to-${part}`).addEventListener("click", (event) => {
      event.preventDefault();
      byId(part).scrollIntoView();
    });
  }
  document.addEventListener("keydown", onKey);
  window.addEventListener("hashchange", () => report.byAddress.get(location.hash) !== open && follow());
  window.addEventListener("resize", () => plots.forEach((plot) => plot.draw()));
  fill(byId("names"), report.runs.map((run, at) => el("span", {}, report.two ? el("span", { class: `letter run-${at}` }, report.letter(at)) : null, short(run.name, 40))));
  overview();
  rest();
  apply();
  if (location.hash) follow();
  document.documentElement.dataset.ready = "yes";
}

start();
