/** Rows to train decoders on: what is read, which ids are learnt, and what is said of rows that are cut or read otherwise. */

import assert from "node:assert/strict";
import { type LanguageRow, readLanguageRows } from "../lib/data/language_rows.ts";
import { type ChatTemplates, ggufChatTemplates } from "../lib/models/chat_template.ts";
import type { DecoderTokenizer } from "../lib/models/decoder_tokenizer.ts";
import type { LanguageExample } from "../lib/models/encoded_row.ts";
import { instructionPrompt } from "../lib/models/instruction_prompt.ts";
import { languageExamples, type LanguageOptions } from "../lib/models/language_examples.ts";
import chats from "./fixtures/chat_templates.json" with { type: "json" };
import { publishedTokenizer, smollm2, smollm2Metadata } from "./support/decoder_vocabularies.ts";
import { withFiles } from "./support/files.ts";

const tokenizer = smollm2();
const templates = ggufChatTemplates("a.gguf", smollm2Metadata(), tokenizer)!;
const plain: LanguageOptions = { loss: "completion", maxTokens: 512 };

/** Rows of a file with these objects, one a line. */
function rowsOf(objects: readonly unknown[], kind?: LanguageRow["kind"]): Promise<LanguageRow[]> {
  const text = objects.map((object) => JSON.stringify(object)).join("\n");
  return withFiles({ "a.jsonl": text }, (folder) => readLanguageRows(`${folder}/a.jsonl`, kind));
}

interface Settings extends Partial<LanguageOptions> {
  readonly tokenizer?: DecoderTokenizer;
  readonly templates?: ChatTemplates;
}

async function encoded(objects: readonly unknown[], settings: Settings = {}) {
  const rows = await rowsOf(objects);
  const { tokenizer: own = tokenizer, templates: chat = templates, ...options } = settings;
  return await languageExamples(rows, own, chat, { ...plain, ...options });
}

/** The text of each run of learnt ids. */
function learnt({ ids, labelled }: LanguageExample, { decode } = tokenizer): string[] {
  const runs: number[][] = [];
  ids.forEach((id, i) => {
    if (!labelled[i]) return;
    if (labelled[i - 1]) runs.at(-1)!.push(id);
    else runs.push([id]);
  });
  return runs.map((run) => decode(run, { continues: true }));
}

/** Lines of rows in an error or a note. */
const lines = (where: readonly string[]) => where.map((it) => Number(it.match(/line (\d+)$/)![1]));

Deno.test("the end mark is learnt, and by place: what fills the batch has its id and is not", async () => {
  const { examples: [{ ids, labelled }] } = await encoded([{ prompt: "Water boils at", completion: " 5" }]);
  const padded = Array.from({ length: 8 }, (_, i) => ids[i] ?? tokenizer.endMark);
  const labels = padded.map((id, i) => labelled[i] ? id : -100);
  assert.deepEqual(padded, [12615, 36411, 418, 216, 37, 2, 2, 2]);
  assert.deepEqual(labels, [-100, -100, -100, 216, 37, 2, -100, -100]);
});

Deno.test("the end mark comes once, whether a row spells it or not", async () => {
  const { examples } = await encoded([
    { prompt: "a", completion: "b" },
    { prompt: "a", completion: "b<|im_end|>" },
    { text: "ab" },
    { text: "ab<|im_end|>" },
  ]);
  const [a, b] = tokenizer.encode("a").concat(tokenizer.encode("b"));
  assert.deepEqual(examples.slice(0, 2).map(({ ids }) => ids), [[a, b, 2], [a, b, 2]]);
  assert.deepEqual(examples[2].ids.at(-1), 2);
  assert.deepEqual(examples[3].ids, examples[2].ids);
  assert.deepEqual(
    examples[2].labelled,
    examples[2].ids.map((_, i) => i > 0),
    "nothing comes before the first",
  );
});

Deno.test("prompt and answer are encoded apart, and rows where together they have other ids are told", async () => {
  const llama3 = await publishedTokenizer("llama3");
  const objects = [{ prompt: "12", completion: "345" }, { prompt: "test", completion: "12" }];
  const { examples, notes } = await encoded(objects, { tokenizer: llama3 });
  assert.deepEqual(llama3.encode("12345").map((id) => llama3.decode([id])), ["123", "45"]);
  assert.deepEqual(examples[0].ids.map((id) => llama3.decode([id])), [
    "<|begin_of_text|>",
    "12",
    "345",
    "<|end_of_text|>",
  ]);
  assert.deepEqual(examples.map((example) => learnt(example, llama3)), [["345<|end_of_text|>"], [
    "12<|end_of_text|>",
  ]]);
  assert.deepEqual(lines(notes.joinsDiffer), [1]);
});

Deno.test("a row that is encoded as one text leaves out as many ids as its prompt alone has", async () => {
  const llama3 = await publishedTokenizer("llama3");
  const row = {
    kind: "completion",
    where: "a",
    prompt: "12",
    completion: "345",
    encodes: "together",
  } as const;
  const encode = async (loss: "completion" | "all", completion: string = row.completion) => {
    const { examples: [example] } = await languageExamples([{ ...row, completion }], llama3, undefined, {
      ...{ loss, maxTokens: 512 },
    });
    return [example.ids.map((id) => llama3.decode([id])), learnt(example, llama3)];
  };
  const tokens = ["<|begin_of_text|>", "123", "45", "<|end_of_text|>"];
  assert.deepEqual(await encode("completion"), [tokens, ["45<|end_of_text|>"]]);
  assert.deepEqual(await encode("all"), [tokens, ["12345<|end_of_text|>"]]);
  assert.deepEqual(await encode("completion", ""), [["<|begin_of_text|>", "12", "<|end_of_text|>"], [
    "<|end_of_text|>",
  ]]);
});

Deno.test("an answer goes on after its prompt: no space is put before it", async () => {
  const llama2 = await publishedTokenizer("llama2");
  const objects = [{ prompt: "Hi", completion: "test" }, { prompt: "Hi", completion: " test" }];
  const { examples } = await encoded(objects, { tokenizer: llama2 });
  assert.deepEqual(examples.map((example) => learnt(example, llama2)), [["test</s>"], [" test</s>"]]);
  assert.deepEqual(examples.map(({ ids }) => llama2.decode(ids)), ["<s> Hitest</s>", "<s> Hi test</s>"]);
});

const turns = [
  { role: "user", content: "Hi" },
  { role: "assistant", content: "Hello there!" },
  { role: "user", content: "What is it?" },
  { role: "assistant", content: "Yes, <|im_end|> of course." },
];

Deno.test("of a conversation the assistant's turns are learnt, each with its end token, and nothing else", async () => {
  const { examples: [example], notes } = await encoded([{ messages: turns }]);
  assert.deepEqual(learnt(example), ["Hello there!<|im_end|>", "Yes, <|im_end|> of course.<|im_end|>"]);
  assert.equal(example.ids.filter((id) => id === 2).length, 5, "the system's, and one a turn");
  assert.match(
    tokenizer.decode(example.ids),
    /^<\|im_start\|>system\n.*<\|im_end\|>\n<\|im_start\|>user\nHi<\|im_end\|>\n/,
  );
  assert.deepEqual(lines(notes.spellSpecial), [1]);
  assert.deepEqual([notes.lastTurnOnly, notes.joinsDiffer], [[], []]);
});

Deno.test("turns of a tokenizer that puts spaces before texts have the ids of the whole conversation", async () => {
  const llama2 = await publishedTokenizer("llama2");
  const template =
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]{% else %} " +
    "{{ m.content }}{{ eos_token }}{% endif %}{% endfor %}";
  const own = { ...templates, byName: { default: template }, namedTokens: llama2.namedTokens };
  const messages = turns.map((turn) => ({ ...turn, content: turn.content.replace("<|im_end|>", "") }));
  const { examples: [example], notes } = await encoded([{ messages }], { tokenizer: llama2, templates: own });
  assert.deepEqual(notes.joinsDiffer, []);
  assert.deepEqual(learnt(example, llama2), [" Hello there!</s>", " Yes,  of course.</s>"]);
  assert.deepEqual(example.ids.slice(0, 1), [1]);
});

Deno.test("where a template writes earlier turns otherwise, the last alone is learnt, and the row is named", async () => {
  const thinking = { ...templates, byName: { default: chats.cases.thinking.template } };
  const messages = [
    { role: "user", content: "Hi" },
    { role: "assistant", content: "<think>\na\n</think>\n\nHello there!" },
    { role: "user", content: "What is it?" },
    { role: "assistant", content: "<think>\nb\n</think>\n\nYes, of course." },
  ];
  const { examples, notes } = await encoded([{ messages }, { messages: messages.slice(0, 2) }], {
    templates: thinking,
  });
  assert.deepEqual(examples.map((example) => learnt(example)), [
    ["<think>\nb\n</think>\n\nYes, of course.<|im_end|>"],
    ["<think>\na\n</think>\n\nHello there!<|im_end|>"],
  ]);
  assert.ok(!tokenizer.decode(examples[0].ids).includes("<think>\na"));
  assert.deepEqual(lines(notes.lastTurnOnly), [1]);
});

Deno.test("a template without an end token after a turn, or with another text than the turn's, is refused by row", async () => {
  const messages = turns.slice(0, 2);
  const rejects = (template: string, message: RegExp) =>
    assert.rejects(
      encoded([{ text: "a" }, { messages }], { templates: { ...templates, byName: { default: template } } }),
      message,
    );
  const each = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}";
  const asked = "{% if add_generation_prompt %}assistant: {% endif %}";
  await rejects(
    each + asked,
    /a\.jsonl line 2, message 2 \(assistant\): its text, and an end token after it, are not where/,
  );
  await rejects(
    each.replace("m.content", "(m.content | upper) + eos_token") + asked,
    /line 2, message 2 \(assistant\)/,
  );
  const ended = each.replace("m.content", "m.content + eos_token");
  await rejects(ended + asked.replace(": ", "; "), /line 2, message 2 \(assistant\)/);
  await rejects(ended.replace("role", "role | upper") + asked, /line 2, message 2/);
  const { examples } = await encoded([{ messages }], {
    templates: { ...templates, byName: { default: ended + asked } },
  });
  assert.deepEqual(learnt(examples[0]), ["Hello there!<|im_end|>"]);
  const without = languageExamples(await rowsOf([{ messages }]), tokenizer, undefined, plain);
  await assert.rejects(without, /a\.jsonl line 1 is a conversation, and the model has no chat template/);
});

Deno.test("the first row that the template refuses ends it before anything is learnt", async () => {
  const gemma = { ...templates, byName: { default: chats.cases.Gemma.template } };
  const system = { role: "system", content: "Be brief." };
  await assert.rejects(
    encoded([{ text: "a" }, { messages: [system, ...turns] }], { templates: gemma }),
    /a\.jsonl line 2, message 1 \(system\): the chat template refuses it: System role not supported$/,
  );
});

Deno.test("calls of tools are learnt as the template writes them", async () => {
  const qwen = await publishedTokenizer("qwen2_5");
  const own = { ...templates, byName: { default: chats.cases["Qwen2.5"].template } };
  const call = { function: { name: "user", arguments: { a: 1 } } };
  const messages = [turns[0], { role: "assistant", content: null, tool_calls: [call] }];
  const { examples } = await encoded([{ messages, tools: [] }], { tokenizer: qwen, templates: own });
  assert.deepEqual(examples.map((example) => learnt(example, qwen)), [[
    '<tool_call>\n{"name": "user", "arguments": {"a": 1}}\n</tool_call><|im_end|>',
  ]]);
  // SmolLM2's template knows no tools: of a call it would teach the end alone.
  for (const content of [null, "Let me look."]) {
    await assert.rejects(
      encoded([{ messages: [turns[0], { role: "assistant", content, tool_calls: [call] }, ...turns] }]),
      /^Error: .*a\.jsonl line 1, message 2 \(assistant\): the chat template writes nothing of its tool_calls: take a model/,
    );
  }
});

Deno.test("rows are cut at their ends; those without anything to learn are left out and named", async () => {
  const prompt = "Hi".repeat(300);
  assert.ok(tokenizer.encode(prompt).length >= 300);
  const short = { prompt: "a", completion: "12345" };
  const { examples, notes } = await encoded([{ prompt, completion: "a" }, short], { maxTokens: 256 });
  assert.deepEqual(examples.map(({ where }) => lines([where])[0]), [2]);
  assert.equal(examples[0].labelled.filter(Boolean).length, 6);
  assert.deepEqual([lines(notes.dropped), notes.cut], [[1], []]);
  const half = await encoded([short, { prompt: "a", completion: "1" }], { maxTokens: 3 });
  assert.deepEqual(half.examples.map(({ ids, labelled }) => [ids.length, labelled.length]), [[3, 3], [3, 3]]);
  assert.deepEqual([lines(half.notes.cut), half.notes.dropped], [[1], []]);
  // What the template writes after an answer's end may be cut.
  const whole = (await encoded([{ messages: turns }])).examples[0].ids.length;
  const chat = await encoded([{ messages: turns }], { maxTokens: whole - 1 });
  assert.deepEqual([chat.notes.cut, chat.examples[0].ids.length], [[], whole - 1]);
  // With the prompt learnt too, there is something within the limit.
  const all = await encoded([{ prompt, completion: "a" }], { maxTokens: 256, loss: "all" });
  assert.deepEqual(all.examples[0].labelled, all.examples[0].ids.map((_, i) => i > 0));
  assert.equal(all.examples[0].ids.length, 256);
  await assert.rejects(
    encoded([{ prompt, completion: "a" }], { maxTokens: 256 }),
    /a\.jsonl line 1 and all others have nothing to learn within 256 tokens: allow more/,
  );
  await assert.rejects(
    encoded([{ text: "" }]),
    /a\.jsonl line 1 and all others have nothing to learn: give texts that are not empty/,
  );
  for (const maxTokens of [-1, 2.5, NaN]) {
    const message = `maxTokens is ${maxTokens}: use a whole number from 1`;
    await assert.rejects(encoded([short], { maxTokens }), { message });
  }
  const loss = "answers" as LanguageOptions["loss"];
  await assert.rejects(encoded([short], { loss }), { message: 'loss is answers: use "completion" or "all"' });
});

Deno.test("no input, null, and a blank one give the same prompt, without the word None", async () => {
  const instruction = "What is it?";
  const output = "Yes, of course.";
  const blanks = [
    { instruction, output },
    ...[null, "", " \n"].map((input) => ({ instruction, input, output })),
  ];
  const rows = await rowsOf([...blanks, { instruction, input: "test", output }]);
  const prompts = rows.map((row) => row.kind === "instruction" ? instructionPrompt(row) : undefined);
  assert.equal(new Set(prompts.slice(0, 4)).size, 1);
  assert.equal(
    prompts[0],
    "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n" +
      "### Instruction:\nWhat is it?\n\n### Response:\n",
  );
  assert.equal(
    prompts[4],
    "Below is an instruction that describes a task, paired with an input that provides further context. Write a response that " +
      "appropriately completes the request.\n\n### Instruction:\nWhat is it?\n\n### Input:\ntest\n\n### Response:\n",
  );
  const { examples } = await encoded(blanks);
  for (const example of examples) {
    assert.deepEqual(example.ids, examples[0].ids);
    assert.deepEqual(learnt(example), ["Yes, of course.<|im_end|>"]);
  }
  const odd = { instruction: "{input} $& {instruction}", input: "$1 {instruction}", output };
  const [row] = await rowsOf([odd]);
  assert.match(
    row.kind === "instruction" ? instructionPrompt(row) : "",
    /:\n\{input\} \$& \{instruction\}\n\n.*:\n\$1 \{instruction\}\n/s,
  );
  for (const wrong of [{ prompt: "What is it?" }, { instruction: "What is it?", input: 1 }]) {
    assert.throws(
      () => instructionPrompt(wrong as unknown as { instruction: string }),
      /^Error: (instruction is undefined|input is 1): give a text$/,
    );
  }
});

Deno.test("an empty answer is its end mark, and is told; one that is missing or no text is refused by line", async () => {
  const { examples, notes } = await encoded([{ instruction: "a", output: "" }, {
    instruction: "a",
    output: "b",
  }]);
  assert.deepEqual(learnt(examples[0]), ["<|im_end|>"]);
  assert.deepEqual(lines(notes.emptyAnswers), [1]);
  const rejects = (object: unknown, message: RegExp) =>
    assert.rejects(rowsOf([{ text: "a" }, object]), message);
  await rejects(
    { instruction: "a", output: null },
    /a\.jsonl line 2: "output" is null: write a text, or "" for none/,
  );
  await rejects({ instruction: "a", input: "b" }, /line 2: "output" is missing/);
  await rejects({ instruction: "a", output: 7 }, /line 2: "output" is 7: write a text/);
  await rejects({ instruction: "a", input: {}, output: "b" }, /line 2: "input" is \{\}: write a text/);
  await rejects({ prompt: "a", completion: ["b"] }, /line 2: "completion" is \["b"\]/);
  await rejects(
    { prompt: [{ role: "user", content: "a" }], completion: "b" },
    /line 2: "prompt" is \[\{"role":"user"/,
  );
  await rejects({ text: null }, /line 2: "text" is null/);
});

Deno.test("special tokens in rows of text are text or tokens, as is said, and the rows are told", async () => {
  const objects = [{ text: "a<|im_end|>b" }, { text: "ab" }];
  const asText = await encoded(objects);
  assert.equal(asText.examples[0].ids.filter((id) => id === 2).length, 1);
  assert.equal(tokenizer.decode(asText.examples[0].ids), "a<|im_end|>b<|im_end|>");
  assert.deepEqual(lines(asText.notes.spellSpecial), [1]);
  const parsed = await encoded(objects, { specialInText: "parsed" });
  assert.deepEqual(parsed.examples[0].ids, [81, 2, 82, 2]);
  assert.deepEqual(lines(parsed.notes.spellSpecial), [1]);
  const prompts = await encoded([{ prompt: "<|im_start|>a", completion: "b" }]);
  assert.ok(!prompts.examples[0].ids.includes(1));
});

Deno.test("characters that the tokenizer has nothing for are told with their rows", async () => {
  const { notes } = await encoded([{ prompt: "a\u0004", completion: "b\u0006" }, { text: "ab" }]);
  assert.deepEqual(notes.lost.map(({ where, characters }) => [lines([where])[0], characters]), [[1, [
    "\u0004",
    "\u0006",
  ]]]);
});

Deno.test("rows come from .jsonl or a list in .json, with their lines", async () => {
  const read = (name: string, text: string, kind?: LanguageRow["kind"]) =>
    withFiles(
      { [name]: text },
      async (folder) =>
        (await readLanguageRows(`${folder}/${name}`, kind)).map((
          { where, kind },
        ) => [lines([where])[0], kind]),
    );
  const list =
    `\ufeff[\n  {"text": "a, ]["},\r\n  {"prompt": "b",\n   "completion": "}"}, {"text": "c"},\n\n{"messages": [\n` +
    `{"role": "user", "content": "[{"}, {"role": "assistant", "content": ""}]}\n]\n`;
  assert.deepEqual(await read("a.json", list), [[2, "text"], [3, "completion"], [4, "text"], [
    6,
    "messages",
  ]]);
  assert.deepEqual(await read("a.jsonl", `{"text": "a"}\n\n{"text": "b"}\n`), [[1, "text"], [3, "text"]]);
  await assert.rejects(read("a.json", `[\n{"text": "a"},\n7]`), /a\.json line 3 is no JSON object/);
  await assert.rejects(
    read("a.json", `[\n{"text": "a"},\n{"text": "a", "text": "b"}]`),
    /a\.json line 3 is not JSON: it has the key "text" twice/,
  );
  const told =
    `{"messages": [{"role": "user", "content": "a", "content": "b"}, {"role": "assistant", "content": ""}]}`;
  await assert.rejects(read("a.jsonl", told), /a\.jsonl line 1 is not JSON: it has the key "content" twice/);
  const nested = `{"text": "a", "b": {"text": [{"text": 1}, {"text": 2}]}}`;
  assert.deepEqual(await read("a.jsonl", nested), [[1, "text"]]);
  // A book in one row, every letter of it escaped, as Python's json writes what is not ASCII.
  const book = `{"text": "${"\\u0431".repeat(5_000_000)}\\\\"}`;
  assert.deepEqual(await read("a.jsonl", book), [[1, "text"]]);
  assert.deepEqual(await read("a.json", `[${book}]`), [[1, "text"]]);
  await assert.rejects(read("a.json", `[{"text": "a"}`), /a\.json is not JSON, or is cut short/);
  await assert.rejects(read("a.json", `{"text": "a"}`), /a\.json is no list of records/);
  await assert.rejects(read("a.json", "[ ]"), /a\.json has no records/);
  await assert.rejects(read("a.csv", "text\na\n"), /a\.csv is no JSON that can be read here/);
  const two = `{"instruction": "a", "output": "b", "text": "c"}`;
  await assert.rejects(
    read("a.jsonl", two),
    /line 1 may be of the kind instruction or text \(it has "instruction", "output", "text"\): name the one/,
  );
  assert.deepEqual(await read("a.jsonl", two, "text"), [[1, "text"]]);
  await assert.rejects(
    read("a.jsonl", two, "texts" as "text"),
    /^Error: no rows of the kind "texts"; have completion, instruction, messages, text$/,
  );
  await assert.rejects(
    read("a.jsonl", `{"txt": "c"}`),
    /line 1 is no row to train on: it has "txt"; known are \{prompt, completion\}/,
  );
});

Deno.test("malformed conversations are refused by line", async () => {
  const rejects = (messages: unknown, message: RegExp) =>
    assert.rejects(rowsOf([{ text: "a" }, { messages }]), message);
  await rejects("[]", /a\.jsonl line 2: "messages" is no list/);
  await rejects([], /line 2: messages: /);
  await rejects([{ role: "user", content: 7 }], /line 2: messages\.0\.content: /);
  await rejects([turns[0]], /line 2 has no message of the assistant: there is nothing to learn/);
  await rejects(
    [turns[0], { role: "assistant", content: null }],
    /line 2, message 2 \(assistant\) has no content/,
  );
  await rejects(
    [turns[0], { role: "assistant", content: null, tool_calls: [] }],
    /line 2, message 2 \(assistant\) has no content/,
  );
  await rejects(
    [turns[0], { role: "assistant", content: "a", weight: 0 }, turns[0], turns[1]],
    /line 2, message 2 \(assistant\) has the weight 0: all of the assistant's messages are learnt alike/,
  );
  await assert.rejects(
    encoded([{ messages: [turns[1]] }]),
    /line 1 begins with the assistant's only message/,
  );
});
