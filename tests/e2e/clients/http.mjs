// Node's `http` as applications use it: a read timeout, a connection that is kept, two requests on it.
// usage: node http.mjs URL SECONDS [USER_AGENT]     prints one JSON line
import http from "node:http";

const [url, seconds, userAgent] = process.argv.slice(2);
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
const headers = { "X-Avala-Api-Key": "avk_team", ...(userAgent && { "User-Agent": userAgent }) };
const interims = [];

function ask() {
  return new Promise((resolve, reject) => {
    const request = http.get(url, { agent, headers, timeout: Number(seconds) * 1000 }, (answer) => {
      const pieces = [];
      answer.on("data", (piece) => pieces.push(piece));
      answer.on("error", reject);
      answer.on("end", () =>
        resolve({ status: answer.statusCode, body: Buffer.concat(pieces).toString(), reused: request.reusedSocket }),
      );
    });
    request.on("information", (information) => interims.push(information.statusCode));
    request.on("timeout", () => request.destroy(new Error("timed out")));
    request.on("error", reject);
  });
}

const began = performance.now();
try {
  const first = await ask();
  const waited = (performance.now() - began) / 1000;
  const second = await ask();
  console.log(JSON.stringify({ answers: [first, second], waited, interims, reused: second.reused }));
} catch (error) {
  console.log(JSON.stringify({ error: error.message, waited: (performance.now() - began) / 1000, interims }));
}
agent.destroy();
