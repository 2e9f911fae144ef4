/** What `in_deno.js` and `in_node.js` have in common: trains both models that the command line names, and prints JSON. */

import process from "node:process";
import { trainDecoder, trainEncoder } from "./training.js";

/** The arguments are the folders of an encoder and a decoder, the decoder's file of rows, and a folder for the adapters. */
export async function run(library, gpu) {
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
}
