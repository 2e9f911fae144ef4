/** Users' tables, whatever program wrote them: as Python's csv and json read them, or refused with the line. */

import assert from "node:assert/strict";
import { labelsOf, labelsText, readLabels } from "../lib/adapters/labels.ts";
import { parseDelimited } from "../lib/data/delimited.ts";
import { type LanguageTaskOptions, loadLanguageTask } from "../lib/data/language_task.ts";
import { loadOwnTask, type OwnTaskOptions } from "../lib/data/own_task.ts";
import { readTable } from "../lib/data/table_file.ts";
import reference from "./fixtures/csv_reference.json" with { type: "json" };
import { withFolder } from "./support/files.ts";

/** The cells of the columns a and b of a file with this content. */
async function cellsOf(folder: string, name: string, content: string): Promise<string[][]> {
  await Deno.writeTextFile(`${folder}/${name}`, content);
  const rows = await readTable(`${folder}/${name}`, ["a", "b"]);
  return rows.map(({ where, cells }) => [where.match(/line \d+/)![0], ...cells]);
}

Deno.test("200 texts of quotes, delimiters, controls and line ends have the rows and lines that Python's csv reads", () => {
  for (const { kind, text, rows } of reference) {
    const dialect = kind === "csv" ? { delimiter: ",", quoting: true } : { delimiter: "\t", quoting: false };
    const read = () => parseDelimited(text, dialect, "t").map(({ line, cells }) => ({ line, cells }));
    if (rows === null) {
      assert.throws(read, /^Error: t line \d+ has (a quote|text after)/, JSON.stringify(text));
    } else assert.deepEqual(read(), rows, JSON.stringify(text));
  }
});

Deno.test("every line end, a byte-order mark and blank last lines are taken alike in .csv, .tsv and .jsonl", () =>
  withFolder(async (folder) => {
    const expected = [["line 2", "x", "1"], ["line 3", "y", "2"], ["line 4", "z", "3"]];
    const lines = {
      "t.csv": ["a,b", "x,1", "y,2", "z,3"],
      "t.tsv": ["a\tb", "x\t1", "y\t2", "z\t3"],
      "t.jsonl": [" ", '{"a": "x", "b": 1}', '{"a": "y", "b": 2}', '{"a": "z", "b": 3}'],
    };
    const ends = ["\n", "\r\n", "\r"];
    for (const [name, [first, second, third, last]] of Object.entries(lines)) {
      for (const [i, end] of ends.entries()) {
        const [next, other] = [ends[(i + 1) % 3], ends[(i + 2) % 3]];
        for (const tail of ["", end, end + next, `${end}${other}  ${end}`]) {
          const content = `\ufeff${first}${end}${second}${next}${third}${other}${last}${tail}`;
          assert.deepEqual(await cellsOf(folder, name, content), expected, JSON.stringify(content));
        }
      }
    }
    assert.deepEqual(await cellsOf(folder, "t.csv", '\ufeff"a","b"\r\nNA,"1\r\n2"\nq"q,\n'), [
      ["line 3", "NA", "1\r\n2"],
      ["line 4", 'q"q', ""],
    ]);
  }));

Deno.test("a header among the records, and a .tsv with a .csv's quotes, are refused by line", () =>
  withFolder(async (folder) => {
    for (const again of ["a,b", "\ufeffa,b"]) {
      await assert.rejects(
        cellsOf(folder, "t.csv", `a,b\nx,1\n${again}\ny,2\n`),
        /t\.csv line 3 is the header once more/,
      );
    }
    const quoted = `"He said ""hi"" there"`;
    await assert.rejects(
      cellsOf(folder, "t.tsv", `a\tb\nx\t1\n${quoted}\t2\n`),
      /t\.tsv line 3 has a quoted cell that begins with "\\"He said .*, and quotes are ordinary text in a \.tsv/,
    );
    const ordinary = [`"so"`, `"so" he said "no"`, `""so""`, `a ""b"" c`, `"`, `""`];
    const lines = ordinary.map((text, i) => `${text}\t${i}`);
    assert.deepEqual(
      (await cellsOf(folder, "t.tsv", `a\tb\n${lines.join("\n")}\n`)).map(([, text]) => text),
      ordinary,
    );
    assert.deepEqual(await cellsOf(folder, "t.csv", `a,b\na,1\n${quoted},b\n`), [
      ["line 2", "a", "1"],
      ["line 3", `He said "hi" there`, "b"],
    ]);
  }));

Deno.test("labels that only Unicode tells apart, and a column that is read twice, are refused", () =>
  withFolder(async (folder) => {
    await assert.rejects(
      ownTask(folder, ["x", "caf\u00e9", "cafe\u0301"]),
      /t\.csv line 4 has the label .*, and .*t\.csv line 3 .*: accents written in two ways make them two classes/,
    );
    const train = `${folder}/t.csv`;
    await assert.rejects(
      loadOwnTask({ train, text: "label", label: "label", maxTokens: 8 }),
      /t\.csv: "label" is to be read twice/,
    );
  }));

Deno.test("a task's option that is misspelt is refused, and a loss that there is not", () =>
  withFolder(async (folder) => {
    await ownTask(folder, ["x", "y"]);
    const columns = { train: `${folder}/t.csv`, text: "text", label: "label", maxTokens: 8 };
    await assert.rejects(
      loadOwnTask({ ...columns, regresion: true } as OwnTaskOptions),
      /loadOwnTask has no option "regresion"; it has train, dev, text, pair, label, regression, maxTokens/,
    );
    const train = `${folder}/t.jsonl`;
    await Deno.writeTextFile(train, '{"text": "a"}\n');
    const rows = { train, dev: train, maxTokens: 8 };
    assert.equal((await loadLanguageTask({ ...rows, loss: "all" })).loss, "all");
    await assert.rejects(
      loadLanguageTask({ ...rows, devel: train } as LanguageTaskOptions),
      /loadLanguageTask has no option "devel"; it has train, dev, loss, maxTokens/,
    );
    await assert.rejects(
      loadLanguageTask({ ...rows, loss: "whole" } as unknown as LanguageTaskOptions),
      /loss is "whole": use "completion" or "all"/,
    );
  }));

Deno.test("a .jsonl's numbers keep every digit, and a key there twice is refused", () =>
  withFolder(async (folder) => {
    for (
      const number of ["12345678901234567890", "1e400", "0.1000000000000000055", "1.0", "1", "-0", "true"]
    ) {
      const line = `{"c": [{"b": "no"}, "}"], "a": ${number} , "b":"\\u00e9\\"{"}`;
      assert.deepEqual(await cellsOf(folder, "t.jsonl", line), [["line 1", number, 'é"{']]);
    }
    assert.deepEqual(await cellsOf(folder, "t.jsonl", '{"a": "__proto__", "b": "\u2028", "__proto__": 1}'), [
      ["line 1", "__proto__", "\u2028"],
    ]);
    const refused = (content: string, message: RegExp) =>
      assert.rejects(() => cellsOf(folder, "t.jsonl", content), message);
    await refused('{"a": 1, "b": 2}\r{"a": 1, "b": 2, "\\u0061": 3}', /line 2 .* has the key "a" twice/);
    await refused('{"a": "\\ud800", "b": 2}', /line 1 .* half a surrogate pair/);
    await refused('{"a": NaN, "b": 2}', /line 1 is not JSON/);
    await refused('{"a": [1, 2], "b": 2}', /line 1: "a" is \[1, 2\]: write a string/);
    await refused('{"b": 2, "toString": 1}', /line 1 has no "a"; it has "b", "toString"/);
  }));

async function ownTask(folder: string, labels: readonly string[], regression = false) {
  const path = `${folder}/t.csv`;
  await Deno.writeTextFile(path, `text,label\n${labels.map((label, i) => `t${i},${label}\n`).join("")}`);
  return await loadOwnTask({
    train: path,
    dev: path,
    text: "text",
    label: "label",
    maxTokens: 8,
    regression,
  });
}

Deno.test("whole numbers that a float64 cannot tell apart, or of one size, are classes of their own, in order", () =>
  withFolder(async (folder) => {
    const labels = ["12345678901234567891", "9", "01", "12345678901234567890", "1", "-2"];
    assert.deepEqual((await ownTask(folder, labels)).labels, [
      "-2",
      "01",
      "1",
      "9",
      "12345678901234567890",
      "12345678901234567891",
    ]);
  }));

Deno.test("regression takes decimal numbers that float32 can hold, and nothing else that JavaScript calls a number", () =>
  withFolder(async (folder) => {
    const { train } = await (await ownTask(folder, ["+1", " .5", "5.", "-2e-1"], true)).load();
    assert.deepEqual(train.map(({ label }) => label), [1, 0.5, 5, -0.2]);
    for (const label of ["0x10", "1_000", "Infinity", "0b1", "nan", "1e400", "1e39", "1e", "."]) {
      await assert.rejects(
        () => ownTask(folder, ["1", label], true),
        /t\.csv line 3 .* wants a number/,
        label,
      );
    }
  }));

Deno.test("classes with the names of JavaScript's own keys come through labels.json", () =>
  withFolder(async (folder) => {
    const names = ["__proto__", "constructor", "prototype", "toString"];
    await Deno.writeTextFile(`${folder}/labels.json`, labelsText(labelsOf(await ownTask(folder, names))!));
    const { id2label, label2id } = (await readLabels(folder, names.length))!;
    assert.deepEqual(Object.values(id2label), names);
    assert.deepEqual(Object.entries(label2id), names.map((name, id) => [name, id]));
    await Deno.writeTextFile(
      `${folder}/labels.json`,
      '{"problem_type": "regression", "id2label": {"0": "a"}, "label2id": {"constructor": "0"}}',
    );
    await assert.rejects(() => readLabels(folder, 1), /labels\.json: label2id\.constructor: Invalid type/);
  }));

Deno.test("labels.json that contradicts itself or the head is refused", () =>
  withFolder(async (folder) => {
    const kind = "single_label_classification";
    for (
      const [problem_type, id2label, label2id, message] of [
        [kind, { "-1": "a", 0: "b" }, { a: -1, b: 0 }, /id2label has the ids 0, -1, and the head has 2/],
        [kind, { 0: "a", "0.5": "b" }, { a: 0, b: 0.5 }, /id2label has the ids 0, 0\.5/],
        [kind, { 0: "a", "0x1": "b" }, { a: 0, b: 1 }, /id2label has the ids 0, 0x1/],
        [kind, { 0: "a", 1: "b" }, { a: 1, b: 0 }, /label2id is not the reverse of id2label/],
        [kind, { 0: "a", 1: "b" }, { a: 0, b: 1, c: 2 }, /label2id is not the reverse/],
        [kind, { 0: "a", 1: "a" }, { a: 1 }, /label2id is not the reverse .* a name of its own/],
        [
          "regression",
          { 0: "a", 1: "b" },
          { a: 0, b: 1 },
          /regression, and the head has 2 outputs and not 1/,
        ],
      ] as const
    ) {
      const json = JSON.stringify({ problem_type, id2label, label2id });
      await Deno.writeTextFile(`${folder}/labels.json`, json);
      await assert.rejects(() => readLabels(folder, 2), message, json);
    }
    // The names' order in the file is nobody's concern.
    const reversed = { problem_type: kind, id2label: { 0: "a", 1: "b" }, label2id: { b: 1, a: 0 } };
    await Deno.writeTextFile(`${folder}/labels.json`, JSON.stringify(reversed));
    assert.equal((await readLabels(folder, 2))!.id2label[1], "b");
  }));
