/** Trains in Deno, with the library's own modules. */

import * as library from "../../mod.ts";
import { run } from "./run.js";

await run(library, await library.openGpu());
