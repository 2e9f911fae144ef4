/** Models that do not fit are refused before anything is uploaded, with the packing that would fit. */

import assert from "node:assert/strict";
import { dryRun } from "../lib/gpu/dry_run.ts";
import { loadDecoder } from "../lib/models/load_decoder.ts";
import { packModel } from "../lib/models/packing.ts";
import { FrozenWeights } from "../lib/run/frozen_weights.ts";
import { checkRoom, weightBuffers } from "../lib/run/room.ts";
import { tinyEncoder } from "../tasks/conformance/tiny_encoder.ts";
import { cases, writeDecoder } from "./support/decoder_reference.ts";
import { withFolder } from "./support/files.ts";

const sumOf = (buffers: readonly (readonly [string, number])[]) =>
  buffers.reduce((sum, [, bytes]) => sum + bytes, 0);

Deno.test("buffers are reckoned as they are uploaded, dense and in every packing", () =>
  withFolder(async (folder) => {
    await writeDecoder(folder, cases["Gemma"]);
    for (const packing of [undefined, "f16", "int8", "int4"] as const) {
      using dry = dryRun();
      const model = await loadDecoder(folder, { packing });
      using frozen = FrozenWeights.of(dry.gpu, model);
      const buffers = weightBuffers(model);
      for (const [name, bytes] of buffers) assert.equal(frozen.view(name)?.bytes, bytes, name);
      assert.equal(dry.gpu.memory.buffers, buffers.length);
      const plain = weightBuffers(await loadDecoder(folder), packing);
      assert.deepEqual(new Map(plain), new Map(buffers), `${packing}`);
    }
  }));

Deno.test("of an encoder, what packModel packs is reckoned packed", () => {
  const model = tinyEncoder();
  assert.deepEqual(
    new Map(weightBuffers(model, "int8")),
    new Map(weightBuffers(packModel(model, "int8"))),
  );
});

Deno.test("too little memory: what is wanted, what is free, and the most exact packing that fits", async () => {
  await withFolder(async (folder) => {
    await writeDecoder(folder, cases["LLaMA 2"]);
    const model = await loadDecoder(folder);
    const [all, f16, int8, int4] = [undefined, "f16", "int8", "int4"].map((packing) =>
      sumOf(weightBuffers(model, packing as "f16" | undefined))
    );
    assert.ok(all > f16 && f16 > int8 && int8 > int4);
    checkRoom(model, { memoryBytes: all });
    checkRoom(model, {});
    const refused = (memoryBytes: number, message: RegExp) =>
      assert.throws(() => checkRoom(model, { memoryBytes }), message);
    refused(all - 1, /does not fit: its weights take .* are free\. Packed as f16 .* \(--packing f16 /);
    refused(f16 - 1, /Packed as int8 it takes/);
    refused(int8 - 1, /Packed as int4 it takes/);
    refused(int4 - 1, /Not even packed as int4, in .* does it fit: take a smaller model/);
    const packed = await loadDecoder(folder, { packing: "int8" });
    assert.throws(() => checkRoom(packed, { memoryBytes: int8 - 1 }), /Packed as int4 it takes/);
  });
});

Deno.test("a matrix beyond the device's bindings is refused before a buffer is made", () =>
  withFolder(async (folder) => {
    await writeDecoder(folder, cases["LLaMA 2"]);
    const model = await loadDecoder(folder);
    using dry = dryRun();
    Object.assign(dry.gpu.device.limits, { maxStorageBufferBindingSize: 4 * 96 * 48 - 16 });
    for (const upload of [FrozenWeights.of, FrozenWeights.forTraining]) {
      assert.throws(
        () => upload(dry.gpu, model),
        /"model\.embed_tokens\.weight" takes 18 KiB, and the device binds at most 18 KiB\. Packed as f16 /,
      );
    }
    assert.equal(dry.gpu.memory.peakBytes, 0);
  }));
