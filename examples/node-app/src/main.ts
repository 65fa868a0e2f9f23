// SPDX-License-Identifier: Apache-2.0
import { check } from "./check.js";
import { makeServer } from "./server.js";

if (process.argv.includes("--check")) {
  check();
} else {
  const port = Number(process.env.PORT ?? 3000);
  const server = makeServer().listen(port, () => console.log(`listening on port ${port}`));
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.once(signal, () => server.close(() => process.exit(0)));
  }
}
