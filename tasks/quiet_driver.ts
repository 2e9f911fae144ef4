/**
 * Gives Mesa the folder it looks for: Deno asks for OpenGL's adapters too, and where XDG_RUNTIME_DIR is not set, as in containers,
 * Mesa then prints two lines of "error:" that are none. For programs to import before they open an adapter; a library must not.
 */

import { tmpdir } from "node:os";

if (Deno.build.os === "linux" && !Deno.env.get("XDG_RUNTIME_DIR")) {
  Deno.env.set("XDG_RUNTIME_DIR", tmpdir());
}
