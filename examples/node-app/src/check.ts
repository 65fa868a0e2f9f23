// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import http from "node:http";
import { NoteBook, greeting } from "./notes.js";
import { makeServer } from "./server.js";

/** Self-test that opens no port: the server is only made, the rest is called directly. */
export function check(): void {
  assert.equal(greeting("image"), "Hello, image!");
  const book = new NoteBook(2);
  assert.equal(book.add({ title: " first " }).title, "first");
  assert.throws(() => book.add({ title: "" }));
  book.add({ title: "second" });
  book.add({ title: "third" });
  assert.deepEqual(book.list().map((n) => n.title), ["second", "third"]);
  assert.ok(makeServer(book) instanceof http.Server);

  const here = [
    `node ${process.version} on ${process.platform}/${process.arch}`,
    `uid ${process.getuid?.()} gid ${process.getgid?.()}`,
    `NODE_ENV=${process.env.NODE_ENV ?? ""}`,
    `TypeScript compiler ${existsSync("node_modules/typescript") ? "present" : "absent"}`,
  ];
  console.log(`check ok: ${here.join(", ")}`);
}
