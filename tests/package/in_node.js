/** Trains in Node, with the installed package and npm's `webgpu`: node in_node.js ENCODER DECODER TRAIN OUT. Prints JSON. */

import * as library from "@bora/webgpu";
import process from "node:process";
import { create, globals } from "webgpu";
import { trainDecoder, trainEncoder } from "./training.js";

Object.assign(globalThis, globals);
const gpu = await library.openGpu({ gpu: create([]) });
const [encoder, decoder, train, out] = process.argv.slice(2);
const saveIn = (name) => async (...parts) => {
  await library.saveAdapter(`${out}/${name}`, ...parts);
  return `${out}/${name}`;
};
console.log(JSON.stringify({
  adapter: gpu.adapter.name,
  encoder: await trainEncoder(library, gpu, encoder, saveIn("encoder")),
  decoder: await trainDecoder(library, gpu, decoder, train, saveIn("decoder")),
}));
gpu[Symbol.dispose]();
