/**
 * Sets XDG_RUNTIME_DIR for Mesa. Deno also queries OpenGL adapters, and where that variable is not set, as in
 * containers, Mesa prints two lines of "error:" that do not matter. Programs import this before they open an
 * adapter; a library must not change the environment.
 */

import { tmpdir } from "node:os";

if (Deno.build.os === "linux" && !Deno.env.get("XDG_RUNTIME_DIR")) {
  Deno.env.set("XDG_RUNTIME_DIR", tmpdir());
}
