// The page of a run: a curve for each figure of the log, and the rollouts of the steps that were kept.

const SVG = "http://www.w3.org/2000/svg";

function curve(name, points) {
  const values = points.map(([, value]) => value);
  const low = Math.min(...values), high = Math.max(...values), span = high - low || 1;
  const first = points[0][0], width = points[points.length - 1][0] - first || 1;
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "-2 -2 104 44");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", name);
  const line = document.createElementNS(SVG, "polyline");
  line.setAttribute("points", points.map(([step, value]) => `${100 * (step - first) / width},${40 - 40 * (value - low) / span}`).join(" "));
  svg.append(line);
  const last = values[values.length - 1];
  return el("div", { class: "curve" }, el("p", {}, `${name}: ${values[0].toFixed(3)} → ${last.toFixed(3)} (${low.toFixed(3)} to ${high.toFixed(3)})`), svg);
}

function rollout(row) {
  const marks = { golds: goldPattern(row.golds), words: null };
  const title = el("span", { dir: "auto" }, row.question);
  const about = tags([[row.ending, row.ending === "correct" ? "good" : null], `reward ${row.reward}`, plural(row.steps.length, "step"), row.id]);
  return later("chain", [title, about], () => [el("div", { class: "body" }, drawGolds(row.golds),
    el("ol", { class: "steps" }, row.steps.map((step) => drawStep(step, { marks }))))]);
}

function start() {
  const data = JSON.parse(byId("data").textContent);
  for (const [name, points] of data.curves) byId("curves").append(curve(name, points));
  byId("count").textContent = `${plural(data.steps, "step")}, rollouts of ${plural(data.kept.length, "step")}`;
  const choice = byId("step");
  for (const [number] of data.kept) {
    const option = el("option", {}, String(number));
    option.value = String(number);
    choice.append(option);
  }
  function show() {
    const found = data.kept.find(([number]) => String(number) === choice.value);
    byId("list").replaceChildren(...(found ? found[1].map(rollout) : []));
  }
  if (data.kept.length) choice.value = String(data.kept[data.kept.length - 1][0]);
  choice.addEventListener("change", show);
  show();
}

start();
