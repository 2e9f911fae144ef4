/** Trains in a page, with the installed package; `run` is for the test. The files of the models are served beside the page. */

import * as library from "@bora/webgpu";
import { trainDecoder, trainEncoder } from "./training.js";

async function held(name, urls) {
  const files = urls.map(async (url) => [
    url.split("/").at(-1),
    new Uint8Array(await (await fetch(url)).arrayBuffer()),
  ]);
  return new library.FilesInMemory(name, Object.fromEntries(await Promise.all(files))).path;
}

const save = (...parts) =>
  Promise.resolve(new library.FilesInMemory("adapter", library.adapterFiles(...parts)).path);

globalThis.run = async (encoder, decoder, train) => {
  const gpu = await library.openGpu();
  const folder = await held("train", [train]);
  return {
    encoder: await trainEncoder(library, gpu, await held("encoder", encoder), save),
    decoder: await trainDecoder(
      library,
      gpu,
      await held("decoder", decoder),
      `${folder}/${train.split("/").at(-1)}`,
      save,
    ),
  };
};
