"use strict";
// The page shows what people and models wrote: every text goes in as a text node, never as markup.

const SHOWN = 20000; // characters of one text that are put on screen before somebody asks for the rest
const PICTURES = 0x2400; // where Unicode keeps pictures of control characters

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
