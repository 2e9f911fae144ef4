/** Reads the front matter of a model card. */

import assert from "node:assert/strict";
import { parseDocument } from "npm:yaml@2.9.1";

/**
 * The fields of a card. The hub reads YAML 1.2, and its Python library 1.1: both must find the same ones. Throws an AssertionError for
 * a text without front matter.
 */
export function cardFields(text: string): Record<string, unknown> {
  const [, yaml] = text.match(/^---\n(.*?\n)---\n\n# /s) ?? assert.fail(`no front matter in ${text}`);
  const read = (version: "1.1" | "1.2") => parseDocument(yaml, { version, strict: true });
  const [older, newer] = [read("1.1"), read("1.2")];
  assert.deepEqual([...older.errors, ...newer.errors], []);
  assert.deepEqual(older.toJS(), newer.toJS());
  return newer.toJS();
}

/** The scores that `model-index` has, by the names that it shows. */
export function cardScores(text: string): Record<string, number> {
  const [{ results: [{ metrics }] }] = cardFields(text)["model-index"] as {
    results: { metrics: { name: string; value: number }[] }[];
  }[];
  return Object.fromEntries(metrics.map(({ name, value }) => [name, value]));
}
