// The least a Node.js runtime client can be: polls Lambda's runtime API over
// one kept connection. AWS's own does more; that would be in its disfavour.
"use strict";

const http = require("http");

const [host, port] = process.env.AWS_LAMBDA_RUNTIME_API.split(":");
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });

function call(method, path, body) {
  return new Promise((resolve, reject) => {
    const request = http.request({ host, port, method, path, agent }, (response) => {
      const pieces = [];
      response.on("data", (piece) => pieces.push(piece));
      response.on("end", () => resolve({ headers: response.headers, body: Buffer.concat(pieces).toString() }));
    });
    request.on("error", reject);
    request.end(body);
  });
}

module.exports = async function run(handler) {
  const base = "/2018-06-01/runtime/invocation";
  for (;;) {
    const next = await call("GET", `${base}/next`);
    const id = next.headers["lambda-runtime-aws-request-id"];
    try {
      const answer = await handler(JSON.parse(next.body));
      await call("POST", `${base}/${id}/response`, JSON.stringify(answer));
    } catch (error) {
      await call("POST", `${base}/${id}/error`, JSON.stringify({ errorMessage: String(error) }));
    }
  }
};
