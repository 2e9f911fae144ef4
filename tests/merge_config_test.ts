/**
 * The merged folder's `config.json` beside what peft 0.21's `merge_and_unload().save_pretrained` wrote with transformers 5.18 for
 * the same base and adapter, on 2026-11-28.
 */

import assert from "node:assert/strict";
import { mergedConfig, mergedLabels } from "../lib/train/merge_config.ts";
import { withFolder } from "./support/files.ts";
import { tinyBert } from "./support/tiny_bert.ts";

const named = { id2label: { 0: "ham", 1: "spam" }, label2id: { ham: 0, spam: 1 } };
const architectures = ["BertForSequenceClassification"];
const unnamed = (outputs: number) => ({
  id2label: Object.fromEntries(Array.from({ length: outputs }, (_, i) => [i, `LABEL_${i}`])),
  label2id: Object.fromEntries(Array.from({ length: outputs }, (_, i) => [`LABEL_${i}`, i])),
});

/** The text that is written for a base whose configuration says `more`, in JSON, and an adapter with these labels, if any. */
async function merged(more: string, outputs: number, labels?: unknown): Promise<string> {
  const folder = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(`${folder}/config.json`, `${JSON.stringify(tinyBert).slice(0, -1)}${more}}`);
    await Deno.mkdir(`${folder}/adapter`);
    if (labels) await Deno.writeTextFile(`${folder}/adapter/labels.json`, JSON.stringify(labels));
    return await mergedConfig(folder, `${folder}/adapter`, outputs);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** What is written beyond the base's `tinyBert`. */
async function added(more: object, outputs: number, labels?: unknown): Promise<unknown> {
  const json = JSON.stringify(more).slice(1, -1);
  const written = JSON.parse(await merged(json && `,${json}`, outputs, labels));
  for (const [name, value] of Object.entries(tinyBert)) {
    assert.equal(written[name], value, name);
    delete written[name];
  }
  return written;
}

Deno.test("without labels.json the base's names and problem type stay, as peft's own merge keeps them", async () => {
  const multi = { problem_type: "multi_label_classification" };
  assert.deepEqual(await added(named, 2), { ...named, architectures });
  for (const more of [multi, { problem_type: "regression" }, { problem_type: null }]) {
    assert.deepEqual(await added({ ...named, ...more }, 2), { ...named, ...more, architectures });
  }
  // Names that transformers must judge: duplicates, ids from 1, and no label2id.
  const odd = [
    { id2label: { 0: "a", 1: "a" }, label2id: { a: 1 } },
    { id2label: { 1: "a", 2: "b" }, label2id: { a: 1, b: 2 } },
    { id2label: { 0: "constructor", 1: "__proto__" } },
  ];
  for (const names of odd) assert.deepEqual(await added(names, 2), { ...names, architectures });
  assert.match(
    await merged(`,"id2label":{"0":"a","1":"b"},"label2id":{"__proto__":0,"constructor":1}`, 2),
    /"label2id": \{\s+"__proto__": 0,\s+"constructor": 1\s+\}/,
  );
});

Deno.test("for another number of outputs the names are LABEL_0 and so on; the base's problem type stays", async () => {
  const multi = { problem_type: "multi_label_classification" };
  for (const outputs of [1, 3]) {
    assert.deepEqual(await added({ ...named, ...multi }, outputs), {
      ...unnamed(outputs),
      ...multi,
      architectures,
    });
    assert.deepEqual(await added(named, outputs), { ...unnamed(outputs), architectures });
  }
  for (const base of [{}, { id2label: null }, { label2id: { ham: 0, spam: 1 } }, { num_labels: 2 }]) {
    assert.deepEqual(await added(base, 2), { ...unnamed(2), architectures });
  }
  // transformers takes num_labels before the names, and never writes it.
  assert.deepEqual(await added({ ...named, num_labels: 3 }, 2), { ...unnamed(2), architectures });
  assert.deepEqual(await added({ ...named, num_labels: 2 }, 2), { ...named, architectures });
});

Deno.test("labels.json counts before the base's, since the head was trained on it", async () => {
  const labels = {
    problem_type: "single_label_classification",
    id2label: { 0: "land", 1: "sea" },
    label2id: { land: 0, sea: 1 },
  };
  const multi = { ...named, problem_type: "multi_label_classification" };
  assert.deepEqual(await added(multi, 2, labels), { ...labels, architectures });
  const regression = { problem_type: "regression", ...unnamed(1) };
  assert.deepEqual(await added(multi, 1, regression), { ...regression, architectures });
});

Deno.test("names that a file of its own must have for every output are refused where one has none", () =>
  withFolder(async (folder) => {
    const labels = async (id2label: unknown) => {
      await Deno.writeTextFile(`${folder}/config.json`, JSON.stringify({ ...tinyBert, id2label }));
      return await mergedLabels(folder, `${folder}/adapter`, 2);
    };
    assert.deepEqual(await labels({ 1: "b", 0: "a" }), ["a", "b"]);
    for (const [names, output] of [[{ 1: "a", 2: "b" }, 0], [{ 0: "a", 1: null }, 1]] as const) {
      await assert.rejects(() => labels(names), {
        message:
          `${folder}/config.json: id2label has no name for output ${output}, and the head has 2 outputs: ` +
          `number the names from 0, or take id2label out`,
      });
    }
  }));

Deno.test("all else stays as it is written: fields that nobody knows, numbers digit for digit, the dtype", async () => {
  const more =
    `,"dtype":"bfloat16","my_field":{"a":[1.0,-0.0,1e-12,null]},"big":12345678901234567890,"10":true`;
  const written = await merged(`${more},"architectures":["BertModel"]`, 1);
  assert.match(written, /"a": \[\s+1\.0,\s+-0\.0,\s+1e-12,\s+null\s+\]/);
  assert.match(written, /"big": 12345678901234567890,/);
  assert.deepEqual(JSON.parse(written), {
    ...JSON.parse(`{${more.slice(1)}}`),
    ...tinyBert,
    ...unnamed(1),
    architectures,
  });
});

Deno.test("names that are no object are refused: transformers would not load the merged folder", async () => {
  for (const names of [["ham", "spam"], "ham", 2]) {
    await assert.rejects(
      () => added({ id2label: names }, 2),
      /config\.json: id2label: write an object of names/,
    );
  }
});
