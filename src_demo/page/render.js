// From events to elements, with the parts that all pages share (/parts.js, loaded before this module).

const ENDINGS = {
  finished: "finished by itself",
  capped_then_answered: "answered at the limit of steps",
  budget_then_answered: "answered at the limit of tokens",
  malformed_then_answered: "answered after malformed replies",
};

export function showStep(list, step, pending) {
  // A step in its place: its draft first, where `pending` stands for the observation, then the whole step.
  const item = drawStep(step, { pending });
  const before = list.querySelector(`[data-n="${Number(step.n)}"]`);
  if (before) before.replaceWith(item);
  else list.append(item);
  item.classList.toggle("fresh", !before);
}

export function endSteps(list) {
  // No observation is still to come.
  for (const item of list.querySelectorAll(".waiting")) {
    item.classList.remove("waiting");
    for (const text of item.querySelectorAll(".seen .prose")) text.textContent = "(not observed)";
  }
}

export function answerCard(card, data, { title, text, kind, copy }) {
  // The end of a run: its answer or what went wrong, with what it took.
  const facts = [ENDINGS[data.status], data.usage && searchesText(data.searches, data.repeated)];
  facts.push(data.usage ? cost(data.usage, data.seconds) : data.seconds !== undefined && duration(data.seconds));
  const foot = facts.filter((fact) => fact).map((fact) => el("span", {}, fact));
  card.className = `answer ${kind}`;
  const more = [data.malformed_replies && drawMalformed(data.malformed_replies), data.tree && drawTree(data.tree)];
  card.replaceChildren(...drawAnswer(title, text, NO_MARKS), ...more.filter((part) => part), el("div", { class: "foot" }, foot, copy ? copyButton("Copy as JSON", copy) : null));
  card.hidden = false;
}

function copyButton(title, text) {
  const button = el("button", { type: "button" }, title);
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
  list.replaceChildren(...servers.map((server) => el("li", {},
    el("b", {}, el("span", { class: server.problem ? "lamp bad" : "lamp good", "aria-hidden": "true" }), server.name),
    el("span", {}, server.problem || `${server.address}, serves ${server.serves}`))));
}

export function missingServers(box, servers) {
  // What is missing and the commands that mend it, each once.
  const broken = servers.filter((server) => server.problem);
  const sentences = broken.map((server) => server.problem.replace(`; '${server.start}' starts it`, ""));
  const commands = new Set(broken.filter((server) => server.problem.includes(server.start)).map((server) => server.start));
  box.hidden = broken.length === 0;
  box.replaceChildren();
  fill(box, [
    sentences.map((why) => el("p", {}, `${why[0].toUpperCase()}${why.slice(1)}.`)),
    commands.size ? el("p", { class: "note" }, "In the folder of the repository:") : null,
    [...commands].map((command) => el("div", { class: "command" }, el("code", {}, command), copyButton("Copy", command))),
  ]);
}
