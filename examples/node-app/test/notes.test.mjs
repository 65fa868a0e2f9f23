// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { test } from "node:test";
import { NoteBook, greeting } from "../dist/notes.js";
import { makeServer } from "../dist/server.js";

test("a greeting without a name greets the world", () => {
  assert.equal(greeting("  "), "Hello, world!");
  assert.equal(greeting("Ada"), "Hello, Ada!");
});

test("the oldest note goes when the book is full", () => {
  const book = new NoteBook(1);
  book.add({ title: "a" });
  const b = book.add({ title: "b", text: "x" });
  assert.deepEqual(book.list(), [b]);
});

test("the service answers over HTTP", async () => {
  const server = makeServer();
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const base = `http://127.0.0.1:${server.address().port}`;
  try {
    assert.deepEqual(await (await fetch(`${base}/greet/Ada`)).json(), { greeting: "Hello, Ada!" });
    const post = (body) => fetch(`${base}/notes`, { method: "POST", body });
    assert.equal((await post('{"title":"t"}')).status, 201);
    assert.equal((await post('{"title":""}')).status, 422);
    assert.equal((await post("{")).status, 400);
    assert.equal((await fetch(`${base}/notes/1`)).status, 200);
    assert.equal((await fetch(`${base}/nothing`)).status, 404);
  } finally {
    server.closeAllConnections();
    server.close();
  }
});
