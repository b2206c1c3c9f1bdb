// Talking to the server: JSON requests with the token, and server-sent events out of a POST's reply
// (EventSource can only GET, and would start a lost run again).

let token = ""; // in memory only: gone with the tab

export function useToken(text) {
  token = text;
}

export class Refused extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

export async function call(path, { body, signal } = {}) {
  const headers = {};
  if (token) headers.Authorization = `Bearer ${token}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const options = { method: body === undefined ? "GET" : "POST", headers, signal, cache: "no-store" };
  if (body !== undefined) options.body = JSON.stringify(body);
  const reply = await fetch(path, options);
  if (reply.ok) return reply;
  let detail = `the server answered with HTTP ${reply.status}`;
  try {
    detail = (await reply.json()).detail || detail;
  } catch {
    // not JSON: the status has to do
  }
  throw new Refused(reply.status, String(detail));
}

export function makeParser(onEvent) {
  // Feed it text in any pieces; it calls onEvent(kind, data) for every whole event.
  let rest = "";
  return (text) => {
    const blocks = (rest + text).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      let kind = "message";
      const data = [];
      for (const line of block.split("\n")) {
        if (line.startsWith("event:")) kind = line.slice(6).trim();
        else if (line.startsWith("data:")) data.push(line.slice(5).trimStart());
      }
      if (data.length) onEvent(kind, JSON.parse(data.join("\n")));
    }
  };
}

export async function streamRun(request, { signal, onEvent }) {
  const reply = await call("/api/runs", { body: request, signal });
  const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
  const feed = makeParser(onEvent);
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    feed(value);
  }
}
