/** GLUE in both layouts, on folders made from the embedded suite; damage refused; submissions; the protocol. */

import assert from "node:assert/strict";
import { glueTask, type GlueTestSet } from "../lib/data/glue.ts";
import { glueSubmission, saveGlueSubmission } from "../lib/data/glue_submission.ts";
import { glueEntry } from "../lib/data/glue_tasks.ts";
import { parseGlueTsv } from "../lib/data/glue_tsv.ts";
import { families, taskFrom } from "../lib/data/registry.ts";
import type { Example } from "../lib/data/task.ts";
import { commonsenseProtocol } from "../tasks/protocols/commonsense.ts";
import { glueProtocol } from "../tasks/protocols/glue.ts";
import {
  glueNames,
  parquetBytes,
  type Row,
  suiteRows,
  tsvText,
  writeGlueParquet,
  writeGlueTsv,
} from "./support/glue_folders.ts";

async function inFolder(body: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await body(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** Texts and labels in the rows' order; ids end in the row's number. */
function inRowOrder(examples: readonly Example[]) {
  const place = ({ id }: Example) => Number(id.split(" ").at(-1));
  return examples.toSorted((a, b) => place(a) - place(b)).map(({ texts, label }) => ({ texts, label }));
}

const expected = (rows: readonly Row[]) => rows.map(({ texts, id }) => ({ texts, label: id }));
const [trainRows, otherRows] = [60, 30];

for (const name of glueNames) {
  Deno.test(`${name}: TSV and parquet folders give the rows that were written`, () =>
    inFolder(async (folder) => {
      const files = await suiteRows(name, trainRows, otherRows);
      assert.equal(files.train.length, trainRows);
      await writeGlueTsv(`${folder}/tsv`, name, files);
      await writeGlueParquet(`${folder}/hub`, name, files);
      const [tsv, hub] = [taskFrom(name, `${folder}/tsv`), glueTask(name, `${folder}/hub`)];
      const { train, dev, furtherDev } = await tsv.load();
      assert.deepEqual(inRowOrder(train), expected(files.train));
      assert.deepEqual(inRowOrder(dev), expected(files.dev ?? files.dev_matched));
      if (name === "MNLI") {
        assert.deepEqual(Object.keys(furtherDev!), ["mismatched"]);
        assert.deepEqual(inRowOrder(furtherDev!.mismatched), expected(files.dev_mismatched));
      } else assert.equal(furtherDev, undefined);
      // Both layouts: the same examples, names and order.
      assert.deepEqual(await hub.load(), { train, dev, ...(furtherDev ? { furtherDev } : {}) });
      assert.notDeepEqual(train.map(({ id }) => id), inOrder("train", trainRows));
      const tests = await hub.loadTest();
      assert.deepEqual(tests, await glueTask(name, `${folder}/tsv`).loadTest());
      assert.deepEqual(
        tests.map(({ file }) => file),
        name === "MNLI" ? ["MNLI-m", "MNLI-mm"] : [name],
      );
      const testRows = name === "MNLI" ? [files.test_matched, files.test_mismatched] : [files.test];
      for (const [i, { examples }] of tests.entries()) {
        assert.deepEqual(examples.map(({ texts }) => texts), testRows[i].map(({ texts }) => texts));
        assert.ok(examples.every(({ label }) => label === -1));
      }
    }));
}

function inOrder(side: string, count: number): string[] {
  return Array.from({ length: count }, (_, i) => `${side} ${i}`);
}

const encode = (text: string) => new TextEncoder().encode(text);
const parse = (name: string, text: string, labelled = true) =>
  parseGlueTsv(glueEntry(name), encode(text), "dev.tsv", labelled);

Deno.test("a quote is plain text, and so are other line breaks than a line feed", () => {
  const texts = ['"Unbalanced', ' he said "no" ', "a\u2028b\u0085c", '""'];
  const rows = parse("SST-2", `sentence\tlabel\n${texts.map((text) => `${text}\t1\n`).join("")}`);
  assert.deepEqual(rows.map((row) => row.texts[0]), texts);
});

Deno.test("a byte order mark, carriage returns and a last line without a feed change nothing", () => {
  const plain = parse(
    "RTE",
    "index\tsentence1\tsentence2\tlabel\n0\ta\tb\tentailment\n1\tc\td\tnot_entailment\n",
  );
  assert.deepEqual(plain.map(({ label }) => label), [0, 1]);
  const marked = "\ufeffindex\tsentence1\tsentence2\tlabel\r\n0\ta\tb\tentailment\r\n1\tc\td\tnot_entailment";
  assert.deepEqual(parse("RTE", marked), plain);
  assert.deepEqual(
    parse("SST-2", "\ufeffsentence\tlabel\na\t1\n"),
    parse("SST-2", "sentence\tlabel\na\t1\n"),
  );
  assert.deepEqual(parse("RTE", marked.replace(/^.*\r\n/, "")), plain, "a file without its header");
});

Deno.test("columns are found by the header's names, in any order and among others", () => {
  const text = "label\tnote\tsentence2\tsentence1\nentailment\tx\tb\ta\n";
  assert.deepEqual(parse("RTE", text), [{ idx: 0, texts: ["a", "b"], label: 0 }]);
});

Deno.test("QQP: rows cut by a line break within a question are left out, and empty questions stay", () => {
  const header = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n";
  const text = `${header}1\t2\t3\ta\tb\t1\n4\t5\t6\tcut\n\there?\t0\n7\t8\t9\t\td\t0\n`;
  assert.deepEqual(parse("QQP", text), [
    { idx: 0, texts: ["a", "b"], label: 1 },
    { idx: 3, texts: ["", "d"], label: 0 },
  ]);
  assert.throws(() => parse("QQP", `${header}1\t2\t3\ta\tb\t1\n4\t5\t6\tcut`), /dev\.tsv line 3 has 4 cells/);
  const test = "id\tquestion1\tquestion2\n0\ta\n1\tb\tc\n";
  assert.throws(() => parse("QQP", test, false), /dev\.tsv line 2 has 2 cells where QQP has 3/);
});

const rteHeader = "index\tsentence1\tsentence2\tlabel\n";
const rteRow = "0\ta\tb\tentailment\n";

const refused: readonly (readonly [string, string, string, RegExp, boolean?])[] = [
  ["an empty file", "RTE", "", /^dev\.tsv: the file is empty: download/],
  ["line breaks only", "RTE", "\n\r\n\n", /^dev\.tsv: the file is empty/],
  ["a header only", "RTE", rteHeader, /^dev\.tsv has no rows/],
  [
    "a truncated last row",
    "RTE",
    `${rteHeader}${rteRow}1\tc\td`,
    /^dev\.tsv line 3 has 3 cells where RTE has 4/,
  ],
  [
    "a truncated label",
    "RTE",
    `${rteHeader}${rteRow}1\tc\td\tnot_ent`,
    /line 3 has label "not_ent": expected one of/,
  ],
  ["a label not in the set", "RTE", `${rteHeader}0\ta\tb\tneutral\n`, /line 2 has label "neutral"/],
  ["a label of the hub", "RTE", `${rteHeader}0\ta\tb\t1\n`, /line 2 has label "1"/],
  ["no label", "SST-2", "sentence\tlabel\na\t\n", /line 2 has label "": expected one of 0, 1/],
  [
    "a missing column",
    "RTE",
    "index\tsentence1\tlabel\n",
    /line 1 is no header with "sentence2".*index, sentence1/,
  ],
  [
    "a misspelt header",
    "RTE",
    rteHeader.replace("label", "lable"),
    /line 1 is no header with "label", nor a row/,
  ],
  ["a column named twice", "RTE", "label\tsentence1\tsentence2\tlabel\n", /line 1 names "label" twice/],
  [
    "the wrong task's file",
    "MRPC",
    `${rteHeader}${rteRow}`,
    /line 1 is no header with "#1 String", "#2 String", "Q/,
  ],
  ["commas for tabs", "RTE", "index,sentence1,sentence2,label\n", /line 1 is no header/],
  ["a web page", "CoLA", "<html>\n", /line 1 is no header with "sentence", "label", nor a row/],
  ["a tab too many", "RTE", `${rteHeader}0\ta\tb\tc\tentailment\n`, /line 2 has 5 cells where RTE has 4/],
  ["an empty line", "RTE", `${rteHeader}\n${rteRow}`, /line 2 has 1 cells/],
  ["an empty text", "RTE", `${rteHeader}0\t \tb\tentailment\n`, /line 2 has an empty sentence1/],
  ["a score that is NaN", "STS-B", stsbText("nan"), /line 2 has score "nan": expected a number from 0 to 5/],
  ["a score above 5", "STS-B", stsbText("5.001"), /line 2 has score "5.001"/],
  ["a negative score", "STS-B", stsbText("-1"), /line 2 has score "-1"/],
  ["a score in another notation", "STS-B", stsbText("0x3"), /line 2 has score "0x3"/],
  ["a score that may be cut", "STS-B", stsbText("3.75").trimEnd(), /line 2 has no line feed.*may be cut/],
  ["a text that may be cut", "CoLA", "s\t1\t\tA whole sentence.\ns\t0\t\tA whol", /line 2 has no line feed/],
  ["a NUL", "SST-2", "sentence\tlabel\na\0b\t1\n", /line 2 has a NUL: save the file as UTF-8/],
  [
    "a test file without header",
    "RTE",
    "0\ta\tb\n",
    /line 1 is no header with "sentence1", "sentence2" \(/,
    false,
  ],
  ["a test file's cut text", "RTE", "index\tsentence1\tsentence2\n0\ta\tb", /line 2 has no line feed/, false],
];

function stsbText(score: string): string {
  const [row] = [{ texts: ["a", "b"], written: score, id: 0 }];
  return tsvText("STS-B", "dev", [row]);
}

for (const [what, name, text, message, labelled = true] of refused) {
  Deno.test(`refused, with file and line: ${what}`, () => {
    assert.throws(() => parse(name, text, labelled), (error: Error) => {
      assert.match(error.message, message);
      assert.match(error.message, /^dev\.tsv/);
      return true;
    });
  });
}

Deno.test("refused, with file and line: bytes that are not UTF-8", () => {
  const bytes = encode(`${rteHeader}${rteRow}1\tcafX\td\tentailment\n`);
  bytes[bytes.indexOf("X".charCodeAt(0))] = 0xe9; // é in Latin-1
  assert.throws(
    () => parseGlueTsv(glueEntry("RTE"), bytes, "dev.tsv", true),
    /^Error: dev\.tsv line 3 is not UTF-8: download the file again, or convert it$/,
  );
});

Deno.test("an unknown task, and a folder without the task, are refused with what there should be", async () => {
  assert.throws(() => glueTask("rte", "."), /GLUE has no task "rte"; it has CoLA, SST-2,/);
  assert.throws(
    () => taskFrom("SNLI", "."),
    /no task "SNLI" is read from a folder; those are CoLA.*openbookqa/,
  );
  await inFolder(async (folder) => {
    await assert.rejects(
      glueTask("RTE", folder).load(),
      /has no RTE: neither RTE\/train\.tsv nor rte\/train-00000-of-00001\.parquet; give the folder/,
    );
  });
});

Deno.test("parquet files that are damaged, foreign or incomplete are refused by name", () =>
  inFolder(async (folder) => {
    const { train, dev } = await suiteRows("RTE", 40, 20);
    await writeGlueParquet(folder, "RTE", { train, dev });
    const path = `${folder}/rte/validation-00000-of-00001.parquet`;
    const whole = parquetBytes("RTE", "dev", dev);
    const withDev = async (bytes: Uint8Array, message: RegExp) => {
      await Deno.writeFile(path, bytes);
      await assert.rejects(glueTask("RTE", folder).load(), (error: Error) => {
        assert.equal(error.constructor, Error);
        assert.ok(error.message.startsWith(`${folder}/rte/validation-`), error.message);
        assert.match(error.message, message);
        return true;
      });
    };
    await withDev(whole.slice(0, -9), /is not readable as parquet: .*: download it again/);
    await withDev(encode("version https://git-lfs.github.com/spec/v1\n"), /is not readable as parquet/);
    await withDev(new Uint8Array(), /is not readable as parquet/);
    await withDev(
      parquetBytes("QNLI", "dev", dev),
      /has no column sentence1, sentence2 \(it has question, sent/,
    );
    await withDev(
      parquetBytes("RTE", "test", dev),
      /row 0 has label -1: expected 0 … 1; the test split has no/,
    );
    await withDev(parquetBytes("RTE", "dev", [{ ...dev[0], id: 2 }]), /row 0 has label 2/);
    await withDev(parquetBytes("STS-B", "dev", [{ ...dev[0], id: 0.5 }]), /row 0 has label 0\.5/);
    await withDev(
      parquetBytes("RTE", "dev", [dev[0], { ...dev[1], texts: ["a", ""] }]),
      /row 1 has sentence2 ""/,
    );
    await withDev(parquetBytes("RTE", "dev", []), /has no rows/);
    const bad = parquetBytes("RTE", "dev", [{ ...dev[0], texts: ["caf\u00e9\u00e9\u00e9", "b"] }], "SNAPPY");
    for (let i = 0; i + 1 < bad.length; i++) if (bad[i] === 0xc3 && bad[i + 1] === 0xa9) bad[i] = 0x41;
    await withDev(bad, /is not readable as parquet/);
    await Deno.remove(path);
    await assert.rejects(
      glueTask("RTE", folder).load(),
      /validation-00000-of-00001\.parquet is missing: download it/,
    );
    await Deno.writeFile(path, whole);
    await glueTask("RTE", folder).load();
    await Deno.remove(`${folder}/rte/train-00001-of-00002.parquet`);
    await assert.rejects(glueTask("RTE", folder).load(), /train-00001-of-00002\.parquet is missing/);
  }));

Deno.test("STS-B's parquet scores outside 0 … 5 are refused", () =>
  inFolder(async (folder) => {
    const { train, dev } = await suiteRows("STS-B", 4, 2);
    for (const score of [NaN, -0.1, 5.5]) {
      await writeGlueParquet(folder, "STS-B", { train, dev: [dev[0], { ...dev[1], id: score }] });
      await assert.rejects(glueTask("STS-B", folder).load(), /row 1 has label (NaN|-0\.1|5\.5).*0 to 5/);
    }
  }));

function testSet(task: string, count: number, file = task): GlueTestSet {
  const examples = inOrder("test", count).map((id) => ({ id, texts: ["a", "b"], label: -1 }));
  return { task, file, examples };
}

Deno.test("submissions are written as GLUE's server wants them", () => {
  const submit = (task: string, predictions: number[], file?: string) =>
    glueSubmission(testSet(task, predictions.length, file), predictions);
  assert.equal(submit("RTE", [0, 1]), "index\tprediction\n0\tentailment\n1\tnot_entailment\n");
  assert.equal(submit("QNLI", [1]), "index\tprediction\n0\tnot_entailment\n");
  assert.equal(
    submit("MNLI", [0, 1, 2], "MNLI-mm"),
    "index\tprediction\n0\tentailment\n1\tneutral\n2\tcontradiction\n",
  );
  for (const task of ["CoLA", "SST-2", "MRPC", "QQP", "WNLI"]) {
    assert.equal(submit(task, [1, 0]), "index\tprediction\n0\t1\n1\t0\n");
  }
  assert.equal(
    submit("STS-B", [-0.2, 5.3, 2.71828, 4]),
    "index\tprediction\n0\t0.000\n1\t5.000\n2\t2.718\n3\t4.000\n",
  );
});

Deno.test("predictions that do not fit are refused, with file and example", () => {
  assert.throws(() => glueSubmission(testSet("RTE", 2), [0]), /RTE: 1 predictions for 2 examples/);
  assert.throws(() => glueSubmission(testSet("RTE", 1), [2]), /RTE, test 0: no class 2; expected 0 … 1/);
  assert.throws(() => glueSubmission(testSet("RTE", 1), [0.5]), /RTE, test 0: no class 0\.5/);
  assert.throws(() => glueSubmission(testSet("STS-B", 2), [1, NaN]), /STS-B, test 1: the score is NaN/);
});

Deno.test("a submission is a file named as GLUE names it", () =>
  inFolder(async (folder) => {
    const path = await saveGlueSubmission(`${folder}/out`, testSet("MNLI", 1, "MNLI-m"), [2]);
    assert.equal(path, `${folder}/out/MNLI-m.tsv`);
    assert.equal(await Deno.readTextFile(path), "index\tprediction\n0\tcontradiction\n");
  }));

Deno.test("each task has the leaderboard's metrics", () => {
  const metrics = Object.fromEntries(glueNames.map((name) => [name, glueTask(name, ".").metrics]));
  assert.deepEqual(metrics, {
    "CoLA": ["matthews", "accuracy"],
    "SST-2": ["accuracy"],
    "MRPC": ["accuracy", "f1"],
    "QQP": ["accuracy", "f1"],
    "STS-B": ["pearson", "spearman"],
    "MNLI": ["accuracy"],
    "QNLI": ["accuracy"],
    "RTE": ["accuracy"],
    "WNLI": ["accuracy"],
  });
});

Deno.test("each task's classes are named in the order of the hub's ids", () => {
  // F1 is that of class 1, which is the one GLUE calls positive.
  assert.deepEqual(Object.fromEntries(glueNames.map((name) => [name, glueTask(name, ".").labels])), {
    "CoLA": ["unacceptable", "acceptable"],
    "SST-2": ["negative", "positive"],
    "MRPC": ["not_equivalent", "equivalent"],
    "QQP": ["not_duplicate", "duplicate"],
    "STS-B": [],
    "MNLI": ["entailment", "neutral", "contradiction"],
    "QNLI": ["entailment", "not_entailment"],
    "RTE": ["entailment", "not_entailment"],
    "WNLI": ["not_entailment", "entailment"],
  });
});

Deno.test("every task that is read from a folder has its training in a protocol, and the averages name them", () => {
  const protocols = { "glue": glueProtocol, "llm-adapters": commonsenseProtocol };
  assert.deepEqual(families.map(({ name }) => name), Object.keys(protocols));
  for (const { name, tasks } of families) {
    const { training, averaged } = protocols[name as keyof typeof protocols];
    assert.deepEqual(Object.keys(training).toSorted(), tasks.toSorted());
    assert.deepEqual(averaged.filter((task) => !tasks.includes(task)), []);
    assert.equal(averaged.length, 8);
  }
});
