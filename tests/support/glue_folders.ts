/** Folders in GLUE's two layouts made from the embedded suite: real text and labels made by people. */

import { zstdCompressSync } from "node:zlib";
import { parquetWriteBuffer } from "npm:hyparquet-writer@0.17.0";
import { taskByName } from "../../lib/data/registry.ts";
import type { Example } from "../../lib/data/task.ts";

/** A row as it goes into a file: the label as TSV files write it, and as the hub does. */
export interface Row {
  readonly texts: readonly string[];
  readonly written: string;
  readonly id: number;
}

/** Rows by the end of their TSV file's name: train, dev, test; or train, dev_matched, … */
export type Files = Readonly<Record<string, readonly Row[]>>;

/** Where a task's rows come from and how its TSV files look: {1} and {2} are the texts, {y} the label, {i} the row. */
interface Layout {
  readonly source: string;
  /** Files beside train; default dev and test. */
  readonly files?: readonly string[];
  readonly row: (example: Example) => Row;
  readonly header?: string;
  readonly line: string;
  readonly testHeader: string;
  readonly testLine: string;
  readonly hub: string;
  readonly hubTexts: readonly string[];
}

const clean = (text: string) => text.replace(/\s+/g, " ").trim();
const digit = ({ texts, label }: Example): Row => ({
  texts: texts.map(clean),
  written: `${label}`,
  id: label,
});
/** The suite's 1 is "yes", which GLUE's data sets of two entailment classes number 0. */
const entails = ({ texts, label }: Example): Row => ({
  texts: texts.map(clean),
  written: label === 1 ? "entailment" : "not_entailment",
  id: 1 - label,
});

/** A word and its gloss. */
function wordAndGloss({ texts: [text] }: Example): string[] {
  const at = text.indexOf(": ");
  return [clean(text.slice(0, at)), clean(text.slice(at))];
}

/** The word's valence, −5 … 5, as a score of 0 … 5 that is no float32, as most of STS-B's. */
function score(example: Example): Row {
  const written = (0.467 * (example.label + 5)).toFixed(3);
  return { texts: wordAndGloss(example), written, id: Number(written) };
}

/** A positive, neutral or negative word. */
function threeWays(example: Example): Row {
  const id = example.label >= 2 ? 0 : example.label > -2 ? 1 : 2;
  return { texts: wordAndGloss(example), written: ["entailment", "neutral", "contradiction"][id], id };
}

const stsb = "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2";
const mnli = "index\tpromptID\tpairID\tgenre\tsentence1_binary_parse\tsentence2_binary_parse\t" +
  "sentence1_parse\tsentence2_parse\tsentence1\tsentence2";
const mnliCells = "{i}\t1\t1e\tfiction\t( a )\t( b )\t(ROOT a)\t(ROOT b)\t{1}\t{2}";
const sentencePair = {
  header: "index\tsentence1\tsentence2\tlabel",
  line: "{i}\t{1}\t{2}\t{y}",
  testHeader: "index\tsentence1\tsentence2",
  testLine: "{i}\t{1}\t{2}",
  hubTexts: ["sentence1", "sentence2"],
};

const layouts: Readonly<Record<string, Layout>> = {
  "CoLA": {
    source: "sentiment",
    row: digit,
    line: "gj04\t{y}\t\t{1}",
    testHeader: "index\tsentence",
    testLine: "{i}\t{1}",
    hub: "cola",
    hubTexts: ["sentence"],
  },
  "SST-2": {
    source: "sentiment",
    row: digit,
    header: "sentence\tlabel",
    line: "{1}\t{y}",
    testHeader: "index\tsentence",
    testLine: "{i}\t{1}",
    hub: "sst2",
    hubTexts: ["sentence"],
  },
  "MRPC": {
    source: "wic",
    row: digit,
    header: "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String",
    line: "{y}\t70\t71\t{1}\t{2}",
    testHeader: "index\t#1 ID\t#2 ID\t#1 String\t#2 String",
    testLine: "{i}\t70\t71\t{1}\t{2}",
    hub: "mrpc",
    hubTexts: ["sentence1", "sentence2"],
  },
  "QQP": {
    source: "wic",
    row: digit,
    header: "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate",
    line: "1{i}\t7\t8\t{1}\t{2}\t{y}",
    testHeader: "id\tquestion1\tquestion2",
    testLine: "{i}\t{1}\t{2}",
    hub: "qqp",
    hubTexts: ["question1", "question2"],
  },
  "STS-B": {
    source: "valence",
    row: score,
    header: `${stsb}\tscore`,
    line: "{i}\tnews\tf\t2012\t1\tnone\tnone\t{1}\t{2}\t{y}",
    testHeader: stsb,
    testLine: "{i}\tnews\tf\t2012\t1\tnone\tnone\t{1}\t{2}",
    hub: "stsb",
    hubTexts: ["sentence1", "sentence2"],
  },
  "MNLI": {
    source: "valence",
    files: ["dev_matched", "dev_mismatched", "test_matched", "test_mismatched"],
    row: threeWays,
    header: `${mnli}\tlabel1\tgold_label`,
    line: `${mnliCells}\tneutral\t{y}`,
    testHeader: mnli,
    testLine: mnliCells,
    hub: "mnli",
    hubTexts: ["premise", "hypothesis"],
  },
  "QNLI": {
    source: "hypernym",
    row: entails,
    header: "index\tquestion\tsentence\tlabel",
    line: "{i}\t{1}\t{2}\t{y}",
    testHeader: "index\tquestion\tsentence",
    testLine: "{i}\t{1}\t{2}",
    hub: "qnli",
    hubTexts: ["question", "sentence"],
  },
  "RTE": { source: "hypernym", row: entails, hub: "rte", ...sentencePair },
  "WNLI": { source: "hypernym", row: digit, hub: "wnli", ...sentencePair },
};

/** GLUE's tasks that can be made here: all nine. */
export const glueNames = Object.keys(layouts);

/** `train` rows of the suite's train side, and `others` rows of its dev side for every other file of the task. */
export async function suiteRows(name: string, train: number, others: number): Promise<Files> {
  const { source, row, files = ["dev", "test"] } = layouts[name];
  const split = await taskByName(source).load();
  return Object.fromEntries([
    ["train", split.train.slice(0, train).map(row)],
    ...files.map((file, i) => [file, split.dev.slice(i * others, (i + 1) * others).map(row)]),
  ]);
}

/** The text of one TSV file. */
export function tsvText(name: string, file: string, rows: readonly Row[]): string {
  const { header, line, testHeader, testLine } = layouts[name];
  // MNLI's dev files have the labels of five people.
  const five = (text: string) => file.startsWith("dev_") ? text.replace(...fiveLabels(text)) : text;
  const [head, body] = file.startsWith("test")
    ? [testHeader, testLine]
    : [header && five(header), five(line)];
  const lines = rows.map(({ texts, written }, i) =>
    body.replace("{i}", `${i}`).replace("{y}", () => written).replace("{1}", () => texts[0])
      .replace("{2}", () => texts[1])
  );
  return [...(head === undefined ? [] : [head]), ...lines].map((text) => `${text}\n`).join("");
}

function fiveLabels(text: string): [string, string] {
  return text.includes("label1")
    ? ["label1", "label1\tlabel2\tlabel3\tlabel4\tlabel5"]
    : ["\tneutral\t", "\tneutral\tneutral\tneutral\tneutral\tneutral\t"];
}

/** Writes `<folder>/<name>/train.tsv` and its sisters. */
export async function writeGlueTsv(folder: string, name: string, files: Files): Promise<void> {
  await Deno.mkdir(`${folder}/${name}`, { recursive: true });
  for (const [file, rows] of Object.entries(files)) {
    await Deno.writeTextFile(`${folder}/${name}/${file}.tsv`, tsvText(name, file, rows));
  }
}

/** The bytes of one parquet file with the hub's columns and types; the labels of a test file are −1. */
export function parquetBytes(
  name: string,
  file: string,
  rows: readonly Row[],
  codec: "SNAPPY" | "ZSTD" | "UNCOMPRESSED" = "SNAPPY",
  firstIdx = 0,
): Uint8Array {
  const labels = rows.map(({ id }) => file.startsWith("test") ? -1 : id);
  const label = name === "STS-B"
    ? { name: "label", data: labels, type: "FLOAT" as const }
    : { name: "label", data: labels.map(BigInt), type: "INT64" as const };
  return new Uint8Array(parquetWriteBuffer({
    codec,
    compressors: { ZSTD: (bytes) => new Uint8Array(zstdCompressSync(bytes)) },
    columnData: [
      ...layouts[name].hubTexts.map((column, i) => ({
        name: column,
        data: rows.map(({ texts }) => texts[i]),
        type: "STRING" as const,
      })),
      label,
      { name: "idx", data: rows.map((_, i) => firstIdx + i), type: "INT32" },
    ],
  }));
}

/** Writes `<folder>/<hub's name>/train-00000-of-00002.parquet` and its sisters; train in two shards, the second in zstd. */
export async function writeGlueParquet(folder: string, name: string, files: Files): Promise<void> {
  const into = `${folder}/${layouts[name].hub}`;
  await Deno.mkdir(into, { recursive: true });
  for (const [file, rows] of Object.entries(files)) {
    const split = file.replace("dev", "validation");
    if (file !== "train") {
      await Deno.writeFile(`${into}/${split}-00000-of-00001.parquet`, parquetBytes(name, file, rows));
      continue;
    }
    const half = Math.ceil(rows.length / 2);
    const shards = [
      parquetBytes(name, file, rows.slice(0, half)),
      parquetBytes(name, file, rows.slice(half), "ZSTD", half),
    ];
    for (const [i, bytes] of shards.entries()) {
      await Deno.writeFile(`${into}/train-0000${i}-of-00002.parquet`, bytes);
    }
  }
}
