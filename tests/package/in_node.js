/** Trains in Node, with the installed package and npm's `webgpu`. */

import * as library from "@bora/webgpu";
import { create, globals } from "webgpu";
import { run } from "./run.js";

Object.assign(globalThis, globals);
await run(library, await library.openGpu({ gpu: create([]) }));
