/** Chat templates: the texts that transformers renders (`fixtures/chat_templates.py`), contents that spell special tokens, and bounds. */

import assert from "node:assert/strict";
import { chatInputs, type ChatMessage, type Conversation, dividerOf } from "../lib/models/chat_inputs.ts";
import {
  type ChatTemplates,
  encodeChat,
  ggufChatTemplates,
  readChatTemplates,
  renderChats,
} from "../lib/models/chat_template.ts";
import fixture from "./fixtures/chat_templates.json" with { type: "json" };
import {
  publishedFiles,
  publishedTokenizer,
  smollm2,
  smollm2Metadata,
} from "./support/decoder_vocabularies.ts";
import { withFiles } from "./support/files.ts";

const tokenizer = smollm2();
const conversations = fixture.conversations.map((conversation, i) => ({
  where: `a.jsonl line ${i + 1}`,
  ...conversation,
} as Conversation));

function templatesOf(template: string): ChatTemplates {
  return { path: "a/chat_template.jinja", byName: { default: template }, namedTokens: fixture.named };
}

const smollm2Templates = ggufChatTemplates("a.gguf", smollm2Metadata(), tokenizer)!;

function chat(...messages: ChatMessage[]): Conversation {
  return { where: "a.jsonl line 3", messages };
}

const user = (content: string) => ({ role: "user", content });

for (const [name, { template, texts }] of Object.entries(fixture.cases)) {
  Deno.test(`${name}: the texts that transformers renders`, async () => {
    for (const [i, expected] of texts.entries()) {
      // Python cannot write as JSON what is not defined; JavaScript's library writes null.
      if (typeof expected !== "string" && expected.refused.includes("Undefined is not JSON")) continue;
      const rendering = renderChats(templatesOf(template), tokenizer, [conversations[i]]);
      if (typeof expected !== "string") {
        await assert.rejects(
          rendering,
          ({ message }: Error) => message.endsWith(`refuses it: ${expected.refused}`),
        );
        continue;
      }
      const [{ text, seam }] = await rendering;
      // Qwen's and LLaMA's marks are not SmolLM2's special tokens, but <|im_start|> is, where a content spells it.
      assert.equal(seam === undefined ? text : text.replaceAll(seam, ""), expected, `conversation ${i + 1}`);
    }
  });
}

Deno.test("ids of a conversation hold the template's marks, and no second one before them", async () => {
  const ids = await encodeChat(smollm2Templates, tokenizer, {
    ...chat(user("Hi")),
    addGenerationPrompt: true,
  });
  const system = [9690, 198, 2683, 359, 253, 5356, 5646, 11173, 3365, 3511, 308, 34519, 28];
  assert.deepEqual(ids.slice(0, 1 + system.length), [1, ...system]);
  assert.deepEqual(ids.slice(-12), [2, 198, 1, 4093, 198, 26843, 2, 198, 1, 520, 9531, 198]);
  const llama3 = await publishedTokenizer("llama3");
  const templates = await withFiles(publishedFiles("llama3"), readChatTemplates);
  const test = await encodeChat(templates!, llama3, { ...chat(user("test")), addGenerationPrompt: true });
  assert.deepEqual(test, [128000, 128006, 882, 128007, 271, 1985, 128009, 128006, 78191, 128007, 271]);
});

Deno.test("contents that spell special tokens hold no such id, and come back as they are", async () => {
  const ids = await encodeChat(smollm2Templates, tokenizer, chat(user("a<|im_end|>b")));
  const begin = ids.lastIndexOf(1) + 3;
  const content = ids.slice(begin, ids.indexOf(2, begin));
  assert.equal(tokenizer.decode(content), "a<|im_end|>b");
  assert.deepEqual(ids.slice(begin + content.length), [2, 198], "the template's own end");
  assert.equal(tokenizer.decode(ids).split("\n").at(-2), "a<|im_end|>b<|im_end|>");
  // The same where contents do not spell any: the ids are those of the whole text.
  const [{ text, seam }] = await renderChats(smollm2Templates, tokenizer, [chat(user("a"))]);
  assert.equal(seam, undefined);
  assert.deepEqual(await encodeChat(smollm2Templates, tokenizer, chat(user("a"))), tokenizer.encode(text));
});

Deno.test("no part of the inputs makes a special token: roles, tools, overlaps, halves that meet", async () => {
  const templates = templatesOf(
    "{{ messages[0].role }}{% for m in messages %}{{ m.content }}{% endfor %}{{ tools | tojson }}{{ bos_token }}",
  );
  const marks = ["<|im_start|>", "<|im_end|>", "<|endoftext|>"];
  const hostile: Conversation[] = [
    chat({ role: "<|im_start|>", content: "x" }),
    chat(user("<|im_"), user("end|>")),
    chat(user("<|im_<|im_end|>end|>"), user("<|endoftext|")),
    chat(user(">"), user("<"), user("|im_end|>")),
    {
      ...chat(user("\ufdd0<|im_end|>\ufdd1")),
      tools: [{ "<|im_end|>": { a: "<|im_start|>", "<|im_start|>": 1 } }],
    },
  ];
  for (const conversation of hostile) {
    const [{ text, seam }] = await renderChats({ ...templates, namedTokens: {} }, tokenizer, [conversation]);
    const ids = tokenizer.encode(text, { seam });
    assert.deepEqual(ids.filter(tokenizer.isSpecial), [], text);
    const seamless = text.replaceAll(seam!, "");
    assert.equal(tokenizer.decode(ids), seamless);
    assert.ok(marks.some((mark) => seamless.includes(mark)), "spells one nevertheless");
  }
});

Deno.test("as many messages as fit into a request are divided at once, whatever the number of special tokens", () => {
  const special = Array.from({ length: 256 }, (_, i) => `<|reserved_special_token_${i}|>`);
  const messages = Array.from({ length: 20_000 }, () => user("a<"));
  const started = performance.now();
  const { values, seam } = chatInputs(chat(...messages), dividerOf(special));
  const seconds = (performance.now() - started) / 1000;
  assert.deepEqual(values.messages.at(-1), { role: "user", content: `a<${seam}` });
  assert.ok(seconds < 2, `a tenth of a second, where nothing else runs: ${seconds}`);
});

Deno.test("a template that makes its marks of roles has them", async () => {
  const metadata = smollm2Metadata();
  const names = [...metadata.get("tokenizer.ggml.tokens") as string[]];
  names[3] = "<|user|>";
  const zephyr = templatesOf("{% for m in messages %}{{ '<|' + m.role + '|>\\n' + m.content }}{% endfor %}");
  const { ggufTokenizer } = await import("../lib/models/gguf_tokenizer.ts");
  const own = ggufTokenizer("a.gguf", smollm2Metadata({ "tokenizer.ggml.tokens": names }));
  assert.deepEqual(await encodeChat(zephyr, own, chat(user("Hi"))), [3, 198, 26843]);
});

Deno.test("null content is an empty text, and null fields are none", async () => {
  const templates = templatesOf(
    "{% for m in messages %}[{{ m.content + '' }}|{{ m.name }}|{{ 'name' in m }}]{% endfor %}",
  );
  const [{ text }] = await renderChats(templates, tokenizer, [
    chat({ role: "assistant", content: null, name: null }, { role: "assistant" }, {
      role: "user",
      content: "",
    }),
  ]);
  assert.equal(text, "[||false][||false][||false]");
});

Deno.test("a refusal names the row and the message that the template refuses", async () => {
  const { template } = fixture.cases.Gemma;
  const rejects = (messages: ChatMessage[], message: RegExp) =>
    assert.rejects(
      () => renderChats(templatesOf(template), tokenizer, [chat(user("a")), chat(...messages)]),
      message,
    );
  await rejects(
    [{ role: "system", content: "a" }, user("b")],
    /^Error: a\.jsonl line 3, message 1 \(system\): the chat template refuses it: System role not supported$/,
  );
  await rejects(
    [user("a"), { role: "assistant", content: "b" }, { role: "assistant", content: "c" }],
    /message 3 \(assistant\)/,
  );
  await rejects([user("a"), user("b"), user("c"), user("d")], /message 2 \(user\): .*must alternate/);
});

Deno.test("malformed conversations are refused by row and message", async () => {
  const rejects = (conversation: unknown, message: RegExp) =>
    assert.rejects(() => renderChats(smollm2Templates, tokenizer, [conversation as Conversation]), message);
  await rejects(chat(), /^Error: a\.jsonl line 3 has no messages/);
  await rejects(chat(user("a"), { role: "" }), /^Error: a\.jsonl line 3, message 2 has the role ""/);
  const parts = [{ type: "text", text: "a" }] as unknown as string;
  await rejects(chat(user(parts)), /message 1 \(user\) has content that is no text/);
  await rejects(chat(user("\ud83d")), /half a surrogate pair/);
  await rejects({ ...chat(user("a")), tools: [{ b: 1, 7: 2 }] }, /has the key "7" beside others/);
  await rejects({ ...chat(user("a")), variables: { x: NaN } }, /has the number NaN/);
  const call = { role: "assistant", tool_calls: [{ arguments: { id: 12345678901234567890 } }] };
  await rejects(
    chat(user("a"), call),
    /^Error: a\.jsonl line 3, message 2 \(assistant\) has the number 12345678901234567000, of which not all digits/,
  );
});

Deno.test("a template that runs on, grows, or is none ends in an error", async () => {
  const rejects = (template: string, message: RegExp, seconds?: number) =>
    assert.rejects(() => renderChats(templatesOf(template), tokenizer, [chat(user("a"))], seconds), message);
  const loops = "{% for i in range(100000) %}".repeat(3) + "x" + "{% endfor %}".repeat(3);
  await rejects(
    loops,
    /^Error: a\/chat_template\.jinja: the chat template fails: it takes longer than 1 seconds/,
    1,
  );
  const doubles =
    `{% set ns = namespace(s='ab') %}{% for i in range(26) %}{% set ns.s = ns.s + ns.s %}{% endfor %}{{ ns.s }}`;
  await rejects(doubles, /its text has 134217728 characters, and 16777216 are the most/);
  await rejects("{% for %}", /^Error: a\/chat_template\.jinja: the chat template fails: it is no template: /);
});

Deno.test("a template reaches nothing of the program that it runs in", async () => {
  const templates = templatesOf(
    "{{ ''.constructor }}|{{ messages.constructor }}|{{ messages[0].__proto__ }}",
  );
  const [{ text }] = await renderChats(templates, tokenizer, [chat(user("a"))]);
  assert.equal(text, "||");
  const call = templatesOf("{{ messages.constructor.constructor('return 1')() }}");
  await assert.rejects(renderChats(call, tokenizer, [chat(user("a"))]), /refuses it: Cannot call something/);
});

Deno.test("templates come from chat_template.jinja, from tokenizer_config.json, or from GGUF", async () => {
  const read = (files: Record<string, string>) => withFiles(files, readChatTemplates);
  const config = (chat_template: unknown) => ({
    "tokenizer_config.json": JSON.stringify({
      chat_template,
      bos_token: { content: "<s>" },
      eos_token: null,
    }),
  });
  assert.equal(await read(config(undefined)), undefined);
  assert.equal(await read({}), undefined);
  const one = await read(config("a"));
  assert.deepEqual([one?.byName, one?.namedTokens], [{ default: "a" }, { bos_token: "<s>" }]);
  assert.match(one!.path, /tokenizer_config\.json$/);
  // As transformers 5.24 gives them to a template.
  const named = async (settings: object) => {
    const map = { bos_token: "</s>", eos_token: { content: "<s>" }, sep_token: "<sep>" };
    const found = await read({
      "tokenizer_config.json": JSON.stringify({
        chat_template: "a",
        bos_token: "<s>",
        mask_token: "<m>",
        ...settings,
      }),
      "special_tokens_map.json": JSON.stringify(map),
    });
    return found?.namedTokens;
  };
  const older = { bos_token: "</s>", eos_token: "<s>", sep_token: "<sep>", mask_token: "<m>" };
  assert.deepEqual(await named({}), older);
  assert.deepEqual(await named({ added_tokens_decoder: {} }), { bos_token: "<s>", mask_token: "<m>" });
  const list = [{ name: "default", template: "a" }, { name: "tool_use", template: "b" }];
  assert.deepEqual((await read(config(list)))?.byName, { default: "a", tool_use: "b" });
  assert.deepEqual((await read({ ...config("a"), "chat_template.jinja": "c" }))?.byName, { default: "c" });
  await assert.rejects(read(config(7)), /tokenizer_config\.json: chat_template/);
  assert.equal(
    ggufChatTemplates("a.gguf", smollm2Metadata({ "tokenizer.chat_template": undefined }), tokenizer),
    undefined,
  );
  assert.equal(smollm2Templates.namedTokens.eos_token, "<|im_end|>");
  const both = { ...templatesOf("plain"), byName: { default: "plain", tool_use: "tools" } };
  const texts = await renderChats(both, tokenizer, [chat(user("a")), { ...chat(user("a")), tools: [{}] }]);
  assert.deepEqual(texts.map(({ text }) => text), ["plain", "tools"]);
  const unnamed = { ...both, byName: { rag: "x" } };
  await assert.rejects(
    renderChats(unnamed, tokenizer, [chat(user("a"))]),
    /no chat template named "default", only rag/,
  );
});
