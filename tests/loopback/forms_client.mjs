// What Node programs do with a proxy: an absolute-form request, and TLS through a CONNECT.
//
//     forms_client.mjs PROXY-URL PLAIN-URL SECURE-URL

import http from "node:http";
import https from "node:https";
import tls from "node:tls";
import { once } from "node:events";

const [proxy, plain, secure] = process.argv.slice(2).map((text) => new URL(text));

async function read(request) {
  request.end();
  const [answer] = await once(request, "response");
  let text = "";
  for await (const part of answer.setEncoding("utf8")) text += part;
  if (answer.statusCode !== 200 || text !== "a page\n") throw new Error(`${answer.statusCode} ${text}`);
}

await read(
  http.request({ host: proxy.hostname, port: proxy.port, path: plain.href, headers: { Host: plain.host } }),
);
console.log("absolute");

const connect = http.request({ host: proxy.hostname, port: proxy.port, method: "CONNECT", path: secure.host });
connect.end();
const [answer, socket, head] = await once(connect, "connect");
if (answer.statusCode !== 200 || head.length > 0) throw new Error(`${answer.statusCode} ${head}`);
const createConnection = () => tls.connect({ socket, servername: secure.hostname });
await read(https.request({ host: secure.hostname, path: secure.pathname, createConnection }));
console.log("CONNECT");
process.exit(0);
