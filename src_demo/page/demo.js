// The page: one form, one run at a time, its steps as they come.

import { answerCard, endSteps, missingServers, serverList, showStep } from "./render.js";
import { Refused, call, streamRun, useToken } from "./stream.js";

const POLL_MS = 4000;
const RECENT = 12;
const AFTER = { search: "Thinking", direct_answer: "Thinking", finish: "Answering" }; // what follows a step
const OUTCOME = 80; // characters of an answer in the list of questions asked before
const state = { facts: null, run: null, recent: [] };

// --- the servers behind the page

async function refresh() {
  try {
    const facts = await (await call("/api/status")).json();
    byId("token-box").hidden = true;
    const isFirst = !state.facts;
    state.facts = facts;
    if (isFirst) choices(facts);
    starters(facts);
    const broken = facts.servers.filter((server) => server.problem).length;
    byId("lamp").className = broken ? "lamp bad" : "lamp good";
    byId("servers-line").textContent = broken
      ? `${plural(broken, "server")} missing` : "Servers ready";
    serverList(byId("servers-list"), facts.servers);
    const before = byId("missing").dataset.shown;
    const now = JSON.stringify(facts.servers);
    if (before !== now) missingServers(byId("missing"), facts.servers); // announced once, not every four seconds
    byId("missing").dataset.shown = now;
  } catch (error) {
    unreachable(error);
  }
}

function unreachable(error) {
  byId("lamp").className = "lamp bad";
  if (error instanceof Refused && error.status === 401) {
    byId("servers-line").textContent = "Token needed";
    if (byId("token-box").hidden) {
      byId("token-box").hidden = false;
      byId("token").focus();
    }
    return;
  }
  const line = error instanceof Refused ? error.message : "This page's own server does not answer";
  byId("servers-line").textContent = line;
}

function choices(facts) {
  for (const { name, problem } of facts.methods) {
    const option = el("option", { value: name, title: problem }, problem ? `${name} (needs settings)` : name);
    option.disabled = Boolean(problem); // a visitor has no settings to give
    byId("method").append(option);
  }
  byId("method").value = facts.chosen.method;
  for (const name of ["top_k", "t_max"]) {
    byId(name).value = String(facts.chosen[name]);
    byId(name).max = String(facts.most[name]);
  }
  byId("question").maxLength = facts.most.question_chars;
  about();
}

function starters(facts) {
  // A model server that comes up later may be the one of the recorded answers.
  const now = JSON.stringify(facts.examples);
  if (byId("examples").dataset.shown === now) return;
  byId("examples").dataset.shown = now;
  byId("examples").replaceChildren();
  for (const { question, recorded } of facts.examples) questionButton(byId("examples"), question, recordedText(recorded));
  byId("examples-rule").textContent = facts.examples_rule && `${facts.examples_rule}.`;
  byId("starters").hidden = facts.examples.length === 0 || !byId("result").hidden;
}

function recordedText(recorded) {
  // What a run of `scripts/record_default.sh` with the model that serves now answered.
  if (!recorded) return "";
  const outcome = recorded.right ? "right" : "wrong";
  return `recorded: ${short(recorded.answer || "(no answer)", OUTCOME)} (${outcome}; ${recorded.method}, ${recorded.model})`;
}

function about() {
  const method = state.facts.methods.find((one) => one.name === byId("method").value);
  if (method) byId("about").textContent = `${method.about}.`;
}

function questionButton(list, text, small) {
  const click = () => {
    byId("question").value = text;
    grow();
    ask();
  };
  list.append(el("li", {}, el("button", { type: "button", on: { click } }, text, small ? el("small", {}, small) : null)));
}

// --- a run

function ask() {
  const question = byId("question").value.trim();
  if (state.run || !question || !state.facts) return;
  const run = { id: "", question, begun: performance.now(), gone: new AbortController(), ended: false, timer: 0 };
  state.run = run;
  byId("result").hidden = false;
  byId("starters").hidden = true;
  byId("asked").textContent = visible(question);
  byId("with").textContent = `${byId("method").value}, at most ${plural(Number(byId("t_max").value), "step")}`;
  byId("steps").replaceChildren();
  byId("answer").hidden = true;
  byId("run").disabled = true;
  byId("stop").hidden = false;
  doing(run, "Thinking");
  byId("progress").hidden = false;
  run.timer = setInterval(() => { byId("clock").textContent = duration(elapsed(run)); }, 100);
  follow(run, {
    question,
    method: byId("method").value,
    top_k: Number(byId("top_k").value),
    t_max: Number(byId("t_max").value),
  });
}

async function follow(run, request) {
  try {
    await streamRun(request, { signal: run.gone.signal, onEvent: (kind, data) => happened(run, kind, data) });
    if (!run.ended) end(run, "error", { sentence: "The connection broke off before the run had ended; run it again." });
  } catch (error) {
    if (run.gone.signal.aborted) end(run, "stopped", {});
    else if (error instanceof Refused) {
      end(run, "error", { sentence: `${error.message[0].toUpperCase()}${error.message.slice(1)}.` });
      if (error.status === 401) unreachable(error);
    } else {
      end(run, "error", { sentence: "This page's own server does not answer; bash deploy/deploy_demo.sh starts it." });
    }
  }
}

function happened(run, kind, data) {
  if (run.ended) return;
  const wasAtEnd = innerHeight + scrollY >= document.documentElement.scrollHeight - 160;
  if (kind === "run") run.id = data.id;
  else if (kind === "models") byId("with").append(`, with ${data.models.join(" and ")}`);
  else if (kind === "draft") {
    const isSearch = data.function === "search";
    showStep(byId("steps"), data, isSearch ? "Searching and reading …" : "");
    doing(run, isSearch ? "Searching" : AFTER[data.function]);
    announce(`Step ${data.n}: ${isSearch ? `searching for: ${data.argument}` : ACTIONS[data.function]}`);
  } else if (kind === "step") {
    showStep(byId("steps"), data, "");
    doing(run, AFTER[data.function]);
    const read = data.conclusion || data.observation;
    if (read) announce(`${data.conclusion ? "Conclusion" : "Observation"} ${data.n}: ${read}`);
  } else if (["answer", "error", "stopped"].includes(kind)) end(run, kind, data);
  if (wasAtEnd) byId(run.ended ? "answer" : "progress").scrollIntoView({ block: "nearest" }); // who reads above stays there
}

function end(run, kind, data) {
  if (run.ended) return;
  run.ended = true;
  clearInterval(run.timer);
  endSteps(byId("steps"));
  byId("progress").hidden = true;
  byId("run").disabled = false;
  byId("stop").hidden = true;
  const took = kind === "stopped" ? { seconds: elapsed(run) } : data;
  const copy = data.trajectory ? JSON.stringify(JSON.parse(data.trajectory), null, 2) : "";
  const above = byId("steps").childElementCount ? "The run was stopped; what was found until then is above." : "The run was stopped before its first step.";
  const forms = {
    answer: { title: "Answer", text: data.withheld ? `no answer; withheld: ${data.withheld}` : data.answer || "(no answer)", kind: "", copy },
    error: { title: "It could not be answered", text: data.sentence, kind: "wrong", copy },
    stopped: { title: "Stopped", text: above, kind: "quiet", copy },
  };
  answerCard(byId("answer"), took, forms[kind]);
  announce(`${forms[kind].title}: ${forms[kind].text}`);
  remember(run.question, kind === "answer" ? data.answer : forms[kind].title.toLowerCase());
  state.run = null;
  if (kind === "error") refresh();
}

async function stop() {
  const run = state.run;
  if (!run) return;
  doing(run, "Stopping");
  try {
    if (!run.id) throw new Error("not begun");
    await call(`/api/runs/${encodeURIComponent(run.id)}/stop`, { body: {} });
  } catch {
    run.gone.abort(); // leaving ends it as well
  }
}

function elapsed(run) {
  return (performance.now() - run.begun) / 1000;
}

function doing(run, word) {
  byId("doing").textContent = word;
  byId("clock").textContent = duration(elapsed(run));
}

function announce(text) {
  byId("announcement").textContent = text;
}

function remember(question, outcome) {
  state.recent = [{ question, outcome }, ...state.recent.filter((one) => one.question !== question)].slice(0, RECENT);
  byId("recent").replaceChildren();
  for (const one of state.recent) questionButton(byId("recent"), one.question, short(one.outcome, OUTCOME));
  byId("recent-box").hidden = false;
}

// --- the form

function grow() {
  const field = byId("question");
  field.style.height = "auto";
  field.style.height = `${field.scrollHeight}px`;
}

byId("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  ask();
});
byId("question").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  byId("ask").requestSubmit();
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  byId("servers").open = false;
  stop();
});
document.addEventListener("click", (event) => {
  if (!byId("servers").contains(event.target)) byId("servers").open = false;
});
byId("question").addEventListener("input", grow);
window.addEventListener("resize", grow); // a narrower window breaks the question into more lines
byId("method").addEventListener("change", () => state.facts && about());
byId("stop").addEventListener("click", stop);
byId("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  useToken(byId("token").value);
  byId("token").value = "";
  refresh();
});
setInterval(() => {
  if (!document.hidden && !state.run) refresh();
}, POLL_MS);
refresh();
byId("question").focus();
