// From events to elements. What people, models and corpora wrote goes in through textContent, never as markup.

export function put(parent, tag, text = "", name = "") {
  const node = document.createElement(tag);
  if (name) node.className = name;
  if (text) node.textContent = text;
  parent.append(node);
  return node;
}

export function seconds(value) {
  if (value < 60) return `${value.toFixed(1)} s`;
  return `${Math.floor(value / 60)} min ${Math.floor(value % 60)} s`;
}

export function count(n, one, many) {
  return `${n.toLocaleString("en")} ${n === 1 ? one : many}`;
}

export function stepItem(list, step) {
  // The list item of a step, made anew: its draft first, then the whole step in its place.
  const before = list.querySelector(`[data-n="${Number(step.n)}"]`);
  const item = document.createElement("li");
  item.dataset.n = String(step.n);
  if (before) {
    item.style.animation = "none";
    before.replaceWith(item);
  } else {
    list.append(item);
  }
  put(item, "span", String(step.n), "number").setAttribute("aria-hidden", "true");
  if (step.think) folded(item, "think", "What the model thought before", step.think);
  if (step.thought) put(item, "p", step.thought, "text thought");
  const act = put(item, "div", "", "act");
  const isSearch = step.function === "search";
  put(act, "span", isSearch ? "Search" : "Finish", isSearch ? "label" : "label finish");
  put(act, "span", step.argument, "text");
  if (step.parse_failures) {
    put(item, "p", `${count(step.parse_failures, "reply was", "replies were")} malformed and asked for again`, "note");
  }
  if (isSearch) seen(item, step);
  return item;
}

function seen(item, step) {
  const isWaiting = step.passages === undefined;
  item.classList.toggle("waiting", isWaiting);
  const box = put(item, "div", "", isWaiting ? "seen waits" : "seen");
  if (isWaiting) {
    put(box, "p", "Searching and reading …");
    return;
  }
  put(box, "p", step.observation || "(nothing was observed)", "text");
  if (step.repeated) put(box, "p", "The same query as before; it was not searched again", "note");
  if (step.passages.length) passages(box, step.passages);
}

function passages(box, found) {
  const details = put(box, "details", "", "sources");
  put(details, "summary", count(found.length, "passage", "passages"));
  const list = put(details, "ol");
  for (const passage of found) {
    const row = put(list, "li");
    const head = put(row, "b", passage.title || "(untitled)");
    const scores = Object.entries(passage.scores).filter((entry) => typeof entry[1] === "number");
    put(head, "span", [passage.id, ...scores.map(([name, value]) => `${name} ${value.toFixed(3)}`)].join(", "), "id");
    put(row, "p", passage.text, "text");
  }
}

function folded(parent, name, title, text) {
  const details = put(parent, "details", "", name);
  put(details, "summary", title);
  put(details, "p", text, "text");
}

const ENDINGS = {
  finished: "finished by itself",
  capped_then_answered: "answered at the limit of steps",
  budget_then_answered: "answered at the limit of tokens",
  malformed_then_answered: "answered after malformed replies",
};

export function answerCard(card, data, { title, text, kind, copy }) {
  // The end of a run: its answer or what went wrong, with what it took.
  card.replaceChildren();
  card.className = `answer ${kind}`;
  put(card, "h3", title);
  put(card, "p", text, "text big");
  const foot = put(card, "div", "", "foot");
  if (ENDINGS[data.status]) put(foot, "span", ENDINGS[data.status]);
  if (data.calls !== undefined) {
    put(foot, "span", count(data.searches, "search", "searches"));
    put(foot, "span", `${count(data.prompt_tokens, "token", "tokens")} read, ${data.completion_tokens.toLocaleString("en")} written`);
  }
  if (data.seconds !== undefined) put(foot, "span", seconds(data.seconds));
  if (copy) foot.append(copyButton("Copy as JSON", copy));
  card.hidden = false;
}

export function copyButton(title, text) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "plain";
  button.textContent = title;
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Could not copy";
    }
    setTimeout(() => { button.textContent = title; }, 1600);
  });
  return button;
}

export function serverList(list, servers) {
  list.replaceChildren();
  for (const server of servers) {
    const row = put(list, "li");
    const head = put(row, "b");
    put(head, "span", "", server.problem ? "lamp bad" : "lamp good").setAttribute("aria-hidden", "true");
    head.append(server.name);
    put(row, "span", server.problem ? server.problem : `${server.address}, serves ${server.serves}`);
  }
}

export function missingServers(box, servers) {
  // What is missing and the commands that mend it, each once.
  const broken = servers.filter((server) => server.problem);
  box.replaceChildren();
  box.hidden = broken.length === 0;
  for (const server of broken) {
    const why = server.problem.replace(`; '${server.start}' starts it`, "");
    put(box, "p", `${why[0].toUpperCase()}${why.slice(1)}.`);
  }
  const commands = new Set(broken.filter((server) => server.problem.includes(server.start)).map((server) => server.start));
  if (commands.size) put(box, "p", "In the folder of the repository:", "note");
  for (const command of commands) {
    const row = put(box, "div", "", "command");
    put(row, "code", command);
    row.append(copyButton("Copy", command));
  }
}
