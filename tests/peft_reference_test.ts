/** Adapter folders against PEFT itself: see fixtures/peft_reference.py for how its side of the numbers was made. */

import assert from "node:assert/strict";
import { loadAdapter, saveAdapter } from "../lib/adapters/peft.ts";
import { relativeError } from "../tasks/conformance/op_errors.ts";
import { tinyEncoder } from "../tasks/conformance/tiny_encoder.ts";
import reference from "./fixtures/peft_reference.json" with { type: "json" };
import { digestOfAdapterFile } from "./support/peft_digest.ts";
import { probed, referenceAdapters } from "./support/peft_reference.ts";

const model = tinyEncoder();
const adapters = referenceAdapters(model);

function checkProbes(own: Record<string, number[]>, theirs: Record<string, number[]>): void {
  assert.deepEqual(Object.keys(own).toSorted(), Object.keys(theirs).toSorted());
  for (const [path, values] of Object.entries(theirs)) {
    const error = relativeError(own[path], values);
    assert.ok(error < 1e-6, `${path}: relative error ${error}`);
  }
}

Deno.test("every reference adapter has been read by PEFT", () => {
  assert.deepEqual([...adapters.keys()].toSorted(), Object.keys(reference.read).toSorted());
});

for (const [name, { digests, probes }] of Object.entries(reference.read)) {
  Deno.test(`PEFT loaded this very folder, and computes what we do: ${name}`, async () => {
    const folder = await Deno.makeTempDir();
    const { adapter, weights } = adapters.get(name)!;
    await saveAdapter(folder, model, adapter, weights);
    for (const [file, digest] of Object.entries(digests)) {
      const own = await digestOfAdapterFile(`${folder}/${file}`);
      assert.equal(
        own,
        digest,
        `${file} is not what PEFT loaded: run tests/fixtures/peft_reference.py again`,
      );
    }
    checkProbes(probed(model, { adapter, weights }), probes as Record<string, number[]>);
  });
}

for (const [name, { files, probes }] of Object.entries(reference.written)) {
  Deno.test(`a folder that PEFT wrote loads, and computes what PEFT does: ${name}`, async () => {
    const folder = await Deno.makeTempDir();
    for (const [file, text] of Object.entries(files)) {
      await Deno.writeFile(`${folder}/${file}`, Uint8Array.fromBase64(text));
    }
    const lines: string[] = [];
    const loaded = await loadAdapter(folder, model, undefined, (line) => lines.push(line));
    checkProbes(probed(model, loaded), probes as Record<string, number[]>);
    assert.match(lines.join("\n"), /^.*adapter_model\.safetensors does not say which values its base had.*$/);
  });
}
