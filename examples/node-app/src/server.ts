// SPDX-License-Identifier: Apache-2.0
import http from "node:http";
import Router from "find-my-way";
import { ZodError } from "zod";
import { NoteBook, greeting } from "./notes.js";

const MAX_BODY = 64 * 1024;

function send(res: http.ServerResponse, status: number, body: unknown): void {
  res.writeHead(status, { "content-type": "application/json; charset=utf-8" });
  res.end(JSON.stringify(body) + "\n");
}

async function readJson(req: http.IncomingMessage): Promise<unknown> {
  let text = "";
  req.setEncoding("utf8");
  for await (const chunk of req) {
    text += chunk;
    if (text.length > MAX_BODY) throw new RangeError("body is too large");
  }
  return JSON.parse(text);
}

/** The service, not listening yet. */
export function makeServer(book = new NoteBook()): http.Server {
  const router = Router({
    defaultRoute: (_req, res) => send(res as http.ServerResponse, 404, { error: "not found" }),
  });

  router.on("GET", "/health", (_req, res) => send(res as http.ServerResponse, 200, { status: "ok" }));
  router.on("GET", "/greet/:name", (_req, res, params) =>
    send(res as http.ServerResponse, 200, { greeting: greeting(params.name ?? "") }));
  router.on("GET", "/notes", (_req, res) => send(res as http.ServerResponse, 200, book.list()));
  router.on("GET", "/notes/:id", (_req, res, params) => {
    const note = book.get(Number(params.id));
    send(res as http.ServerResponse, note ? 200 : 404, note ?? { error: "no such note" });
  });
  router.on("POST", "/notes", async (req, res) => {
    const out = res as http.ServerResponse;
    try {
      send(out, 201, book.add(await readJson(req as http.IncomingMessage)));
    } catch (e) {
      if (e instanceof ZodError) send(out, 422, { error: e.issues.map((i) => `${i.path.join(".")}: ${i.message}`) });
      else if (e instanceof SyntaxError) send(out, 400, { error: "body is not JSON" });
      else if (e instanceof RangeError) send(out, 413, { error: e.message });
      else throw e;
    }
  });

  return http.createServer((req, res) => router.lookup(req, res));
}
