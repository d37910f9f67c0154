// Node's `fetch`, which has no read timeout that can be set without undici's package: two requests, one connection.
// usage: node fetch.mjs URL     prints one JSON line
import diagnostics from "node:diagnostics_channel";
import { setImmediate } from "node:timers/promises";

const [url] = process.argv.slice(2);
let connections = 0;
diagnostics.subscribe("undici:client:connected", () => (connections += 1));

async function ask() {
  const answer = await fetch(url, { headers: { "X-Avala-Api-Key": "avk_team" } });
  return { status: answer.status, body: await answer.text() };
}

const began = performance.now();
try {
  const first = await ask();
  const waited = (performance.now() - began) / 1000;
  await setImmediate(); // a body is read whole a moment before undici takes its connection for free
  const second = await ask();
  console.log(JSON.stringify({ answers: [first, second], waited, reused: connections === 1 }));
} catch (error) {
  console.log(JSON.stringify({ error: String(error.cause ?? error), waited: (performance.now() - began) / 1000 }));
}
