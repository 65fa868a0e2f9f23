// SPDX-License-Identifier: Apache-2.0
// The service in one plain JavaScript file, for Dockerfile.single: nothing to
// compile, so the image needs the production dependencies only.
import http from "node:http";
import Router from "find-my-way";
import { z } from "zod";

const Name = z.string().trim().min(1).max(80);

const router = Router();
router.on("GET", "/health", () => ({ status: 200, body: { status: "ok" } }));
router.on("GET", "/greet/:name", (_req, _res, params) => {
  const name = Name.safeParse(params.name);
  return name.success
    ? { status: 200, body: { greeting: `Hello, ${name.data}!` } }
    : { status: 422, body: { error: "a name has 1 to 80 characters" } };
});

function answer(method, url) {
  const route = router.find(method, url.split("?")[0]);
  return route ? route.handler({}, {}, route.params) : { status: 404, body: { error: "not found" } };
}

if (process.argv.includes("--check")) {
  const { status, body } = answer("GET", "/greet/image");
  if (status !== 200 || body.greeting !== "Hello, image!" || answer("GET", "/x").status !== 404) process.exit(1);
  console.log(`check ok: node ${process.version}, uid ${process.getuid()}, NODE_ENV=${process.env.NODE_ENV ?? ""}`);
} else {
  const port = Number(process.env.PORT ?? 3000);
  http.createServer((req, res) => {
    const { status, body } = answer(req.method ?? "GET", req.url ?? "/");
    res.writeHead(status, { "content-type": "application/json" });
    res.end(JSON.stringify(body) + "\n");
  }).listen(port, () => console.log(`listening on port ${port}`));
}
