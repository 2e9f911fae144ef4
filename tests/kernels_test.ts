/**
 * `deno task kernels`: what it reads of the makers' compilers, from their own words on one small kernel
 * (tests/fixtures/small_kernel), its record, its page, and what `deno task compare` says of two records.
 */

import assert from "node:assert/strict";
import { needsOf, renderKernel } from "../lib/gpu/kernel.ts";
import { compareKernels } from "../lib/report/compare_kernels.ts";
import { comparePage } from "../lib/report/compare_page.ts";
import { kernelsPage, renderKernels } from "../lib/report/kernels_page.ts";
import {
  type KernelNumbers,
  type KernelResult,
  type KernelsRecord,
  multiplyAddShare,
  type TargetRecord,
} from "../lib/report/kernels_schema.ts";
import { readResults } from "../lib/report/results.ts";
import { amdCode, amdNumbers } from "../tasks/kernels/amd.ts";
import { compileC } from "../tasks/kernels/c_program.ts";
import { cudaSource } from "../tasks/kernels/cuda_source.ts";
import { compilerOfC, mesaDriver, missingOf, MissingTarget, vulkanHeaders } from "../tasks/kernels/debian.ts";
import { hotLoopOf, type MachineInstruction } from "../tasks/kernels/hot_loop.ts";
import { intelCode, intelNumbers } from "../tasks/kernels/intel.ts";
import { nvidiaNumbers, resourcesIn, warpsOf } from "../tasks/kernels/nvidia.ts";
import { hardware, launchesOfPrograms } from "../tasks/kernels/programs.ts";
import { compileKernels } from "../tasks/kernels/run.ts";
import { compileToSpirv } from "../tasks/kernels/spirv.ts";
import { readSpirv } from "../tasks/kernels/spirv_module.ts";
import { type Target, targets } from "../tasks/kernels/targets.ts";
import { runTask } from "./support/command.ts";
import { withFolder } from "./support/files.ts";

const small = (name: string) => new URL(`fixtures/small_kernel/${name}`, import.meta.url);
const spirv = await Deno.readFile(small("kernel.spv"));
const json = async (name: string) => JSON.parse(await Deno.readTextFile(small(name)));

const hopper = { warps: 64, workgroups: 32, registers: 65536, workgroupBytes: 228 * 1024 };

Deno.test("AMD's figures: the driver's statistics, and the inner loop's mix of instructions", async () => {
  assert.deepEqual(amdNumbers(await json("navi21.json"), 32), {
    registers: 16,
    spilled: 0,
    waves: 32,
    lanes: 32,
    workgroupBytes: 1024,
    hotLoop: { instructions: 19, multiplyAdds: 4, otherVector: 1, memory: 1 },
  });
  assert.throws(
    () => amdNumbers([{ subgroupSize: 64, statistics: {}, assembly: "" }], 32),
    /tells no "VGPRs": this version of Mesa/,
  );
});

Deno.test("AMD's instructions: address arithmetic is no multiply-add, and RDNA 3 has two in a line", () => {
  const code = amdCode(`BB0:
	v_mad_u32_u24 v0, v1, v2, v3                                ; d743
	v_dual_fmac_f32 v0, v1, v2 :: v_dual_mov_b32 v3, v4         ; c800
	v_dot4_i32_i8 v0, v1, v2, v3
	v_fma_mix_f32 v0, v1, v2, v3
	ds_read_b128 v[0:3], v4
	s_cbranch_scc1 BB0                                          ; bf85
	s_endpgm`);
  assert.deepEqual(code.map(({ kind }) => kind), [
    ...["other vector", "multiply-add", "other vector", "multiply-add", "multiply-add"],
    ...["memory", "other", "other"],
  ]);
  assert.deepEqual(code.map(({ target }) => target).filter((target) => target !== undefined), [0]);
});

Deno.test("Intel's figures: the widest version's lanes and spills, and no registers", async () => {
  const executables = await json("xe-lp.json");
  const numbers = intelNumbers([{ ...executables[0], subgroupSize: 8 }, ...executables]);
  assert.deepEqual(numbers, {
    spilled: 0,
    waves: 7,
    lanes: 16,
    workgroupBytes: 1024,
    hotLoop: { instructions: 19, multiplyAdds: 4, otherVector: 9, memory: 1 },
  });
});

Deno.test("Intel's instructions: predicates, modifiers and functions, and integers' mad", () => {
  const code = intelCode(`LABEL1:
(-f0.0) sel(8)  g85<1>UD        g84<8,8,1>UD    0x00000001UD    { align1 1Q @1 };
mad.sat(16)     g97<1>F         g93<8,8,1>F     g16<8,8,1>F     g26<1,1,1>F { align1 1H };
mad(8)          g97<1>D         g93<8,8,1>D     g16<8,8,1>D     g26<1,1,1>D { align1 1Q };
math intdiv(8)  g86<1>UD        g81<8,8,1>UD    g85<8,8,1>UD    { align1 1Q @1 $1 };
sync nop(1)                     null<0,1,0>UB                   { align1 WE_all 1N $1.src };
send(8)         g26UD           g26UD           nullUD          0x02406003                0x00000000
                            dp data 1 MsgDesc: (untyped surface read, SIMD8) mlen 1 rlen 4 { align1 1Q @1 $0 };
(-f0.0) while(8) JIP:  LABEL1                                    { align1 1Q };`);
  assert.deepEqual(
    code.map(({ kind }) => kind),
    ["other vector", "multiply-add", "other vector", "other vector", "other", "memory", "other"],
  );
  assert.equal(code.at(-1)!.target, 0);
});

Deno.test("NVIDIA's figures: ptxas's words, and the inner loop in the machine code", async () => {
  const log = await Deno.readTextFile(small("sm_90.log"));
  const cubin = await Deno.readFile(small("sm_90.cubin"));
  assert.deepEqual(nvidiaNumbers({ log, cubin }, 64, hopper), {
    registers: 19,
    spilled: 0,
    waves: 64,
    lanes: 32,
    workgroupBytes: 1024,
    hotLoop: { instructions: 15, multiplyAdds: 4, otherVector: 10, memory: 1 },
  });
  const spilling = log.replace("0 bytes spill stores", "1232 bytes spill stores");
  assert.equal(resourcesIn(spilling).spilled, 1232);
  assert.throws(() => resourcesIn("ptxas fatal"), /ptxas tells no registers: ptxas fatal/);
});

Deno.test("warps of a multiprocessor: by registers, workgroup memory, warps and workgroups, whichever is least", () => {
  // 80 registers: 65536 / (80 · 32) = 25.6 warps, of which 24 are whole fours.
  assert.equal(warpsOf(80, 0, 128, hopper), 24);
  assert.equal(warpsOf(80, 0, 32, hopper), 24);
  assert.equal(warpsOf(255, 0, 32, hopper), 8);
  // 17 KiB and the reserved one: 12 workgroups of 8 warps would fit, 8 have room for their warps.
  assert.equal(warpsOf(32, 17 * 1024, 256, hopper), 64);
  assert.equal(warpsOf(32, 75 * 1024, 64, hopper), 6);
  assert.equal(warpsOf(16, 0, 16, hopper), 32);
});

Deno.test("the hot loop: the inner one of two, a loop with two jumps back once, and a kernel without loops whole", () => {
  const of = (kinds: string, jumps: Readonly<Record<number, number>>): MachineInstruction[] =>
    [...kinds].map((kind, i) => ({
      kind: ({ f: "multiply-add", v: "other vector", m: "memory" } as const)[kind] ?? "other",
      target: jumps[i],
    }));
  const inner = hotLoopOf(of("vffmsvffffmsvs", { 11: 6, 13: 0 }));
  assert.deepEqual(inner, { instructions: 6, multiplyAdds: 4, otherVector: 0, memory: 1 }, "4 in, 2 around");
  const outer = hotLoopOf(of("fffffvfsvs", { 3: 0, 7: 6, 9: 0 }));
  assert.deepEqual(outer, { instructions: 8, multiplyAdds: 5, otherVector: 2, memory: 0 });
  assert.deepEqual(hotLoopOf(of("fvm", {})), { instructions: 3, multiplyAdds: 1, otherVector: 1, memory: 1 });
  // A jump forward, and one to itself as at the end of NVIDIA's code, close no loop.
  assert.equal(hotLoopOf(of("fvms", { 0: 2, 3: 3 })).instructions, 4);
  assert.equal(multiplyAddShare(inner), 1);
  assert.equal(multiplyAddShare(hotLoopOf(of("vm", {}))), undefined);
});

Deno.test("CUDA C++ of a kernel: its buffers, its threads, its function, and the loop as labels and gotos", () => {
  const { text, threads } = cudaSource(spirv);
  assert.equal(threads, 64);
  for (
    const part of [
      /__shared__ array<vec<f32, 4>, 64> v(\d+);[^]*v\1\[v\d+\] = v\d+;/,
      /kernel_main\(\nconst __grid_constant__ S\d+ p\d+, const S\d+ \*__restrict__ p\d+, S\d+ \*__restrict__ p\d+\n\)/,
      /__forceinline__ f32 (function\d+)\(f32 v(\d+)\) \{\n[^]*__expf\(v\2\)[^]*= \1\(v\d+\);/,
      /auto a, auto b, auto c\) \{ return fmaf\(a, b, c\); \}/,
      /__launch_bounds__\(64\)/,
    ]
  ) assert.match(text, part);
  assert.equal(text.match(/__syncthreads\(\)/g)!.length, 2);
  const labels = new Set([...text.matchAll(/^(L\d+):;/gm)].map(([, label]) => label));
  for (const [, label] of text.matchAll(/goto (L\d+);/g)) assert.ok(labels.has(label), label);
});

Deno.test("CUDA C++ of packed words: their bytes with signs, and their halves", async () => {
  const { text } = cudaSource(await Deno.readFile(small("packed.spv")));
  assert.match(
    text,
    /(v\d+) = bits_as<vec<i8, 4>>\(v\d+\);[^]*= map\(\[&\]\(auto a\) \{ return i32\(a\); \}, \1\);/,
  );
  assert.match(text, /vec<f32, 2> (v\d+); \1 = \(halves_of\(v\d+\)\);/);
  assert.match(text, /typedef signed char i8;/);
});

Deno.test("SPIR-V that is none, is cut short, or has an unknown op is refused", () => {
  assert.throws(() => readSpirv(new Uint8Array(40)), /these bytes are no SPIR-V/);
  assert.throws(() => readSpirv(spirv.slice(0, 200)), /cut short/);
  const unknown = spirv.slice();
  new DataView(unknown.buffer).setUint32(20, 2 << 16 | 999, true);
  assert.throws(() => readSpirv(unknown), /SPIR-V's op 999 is not known here: add it to /);
});

Deno.test("the programs: BoRA and LoRA of each model, every role once, with kernels of forward, backward and AdamW, and tokens", async () => {
  const launches = await launchesOfPrograms(hardware);
  const programs = [...new Set(launches.map(({ program }) => program))];
  assert.deepEqual(programs, [
    ...["RoBERTa-base LoRA", "RoBERTa-base BoRA", "USE-lite LoRA", "USE-lite BoRA"],
    ...["LLaMA-3-8B LoRA", "LLaMA-3-8B BoRA"],
    ...["LLaMA-3-8B step, int4", "LLaMA-3-8B prefill, int4"],
    ...["int4", "f16", "int8", "q8_0", "q4_0", "q4_k"].map((packing) => `LLaMA-3-8B token, ${packing}`),
    ...["step", "prefill", "token"].map((kind) => `SmolLM2 ${kind}, q4_1`),
  ]);
  const labelsOf = (own: string) =>
    launches.filter(({ program }) => program === own).map(({ kernel }) => kernel.label);
  const each = ["rms_norm_registers ", "lookup "];
  for (const own of programs.slice(6)) {
    const labels = labelsOf(own);
    const [, kind, packing] = own.match(/ (\w+), (.+)$/)!;
    const ofKind = {
      step: [
        "attention_tiles PASS=0",
        "attention_tiles PASS=3",
        "softmax_parts ",
        "bora_mix",
        "adamw PASS=2",
      ],
      prefill: ["attention_tiles PASS=0", "write_tokens ", "rotary ", "gated_unit "],
      token: ["cached_attention_parts ", "write_tokens "],
    }[kind]!;
    for (const start of [...each, ...ofKind]) {
      assert.ok(labels.some((label) => label.startsWith(start)), `${own}: ${start}`);
    }
    const layers = labels.filter((label) => label.includes(` of ${packing} `) && label.startsWith("matmul"));
    // Those of the tables are in other packings, but f16 and int8.
    if (kind === "token") {
      // Queries, keys and values are one launch, gate and up another, unless scales are in buffers of their own.
      assert.ok(layers.length >= 4 && layers.every((label) => label.startsWith("matmul_lanes")), own);
    }
  }
  for (const own of programs.slice(0, 6)) {
    const ofProgram = launches.filter(({ program }) => program === own);
    assert.equal(new Set(ofProgram.map(({ role }) => role)).size, ofProgram.length, own);
    const labels = ofProgram.map(({ kernel }) => kernel.label);
    for (const label of [/^attention_tiles .*PASS=0/, /^attention_tiles .*PASS=3/, /^adamw PASS=2/]) {
      assert.ok(labels.some((name) => label.test(name)), `${own}: ${label}`);
    }
    assert.equal(labels.some((name) => name.startsWith("bora_mix_strided ")), own.endsWith("BoRA"));
  }
});

Deno.test("a layer's step of 8 texts of 128 tokens: what reads or writes a MiB has 8,192 invocations", async () => {
  const steps = /^(RoBERTa-base|USE-lite|LLaMA-3-8B) (LoRA|BoRA)$/;
  const few = (await launchesOfPrograms(hardware)).filter(({ program, kernel, workgroups, bytes }) =>
    steps.test(program) && bytes >= 2 ** 20 &&
    workgroups * needsOf(kernel).maxComputeInvocationsPerWorkgroup < 8192
  );
  // It reads a row a text of what it binds.
  assert.deepEqual(few.map(({ role }) => role), ["firstToken roberta", "firstToken roberta"]);
});

const numbers: KernelNumbers = {
  registers: 64,
  spilled: 0,
  waves: 16,
  lanes: 32,
  workgroupBytes: 8704,
  hotLoop: { instructions: 300, multiplyAdds: 256, otherVector: 20, memory: 16 },
};

const taken = (digest: string, change: Partial<KernelNumbers> = {}): KernelResult => ({
  digest,
  ...numbers,
  ...change,
});

function target(name: string, kernels: KernelResult[]): TargetRecord {
  return { name, gpu: "a GPU", compiler: "Mesa 1", waveUnit: "waves", spillUnit: "registers", kernels };
}

/** Two kernels, of which one is launched twice, on two GPUs. */
const record: KernelsRecord = {
  schemaVersion: 1,
  environment: {
    adapter: "none",
    driver: "Mesa 1",
    software: false,
    runtime: "Deno 2",
    system: "linux x86_64",
    cpus: 2,
    commit: "0123456789abcdef",
    dirty: false,
  },
  batch: "8 texts of 128 tokens",
  programs: ["A LoRA", "A BoRA"],
  kernels: [
    {
      digest: "aaa",
      label: "matmul TILE=16",
      threads: 32,
      launches: {
        "A LoRA": { "matmul m.layer.0.query": 96, "matmul m.layer.0.key": 960 },
        "A BoRA": { "matmul m.layer.0.query": 96 },
      },
    },
    { digest: "bbb", label: "gelu", threads: 64, launches: { "A BoRA": { "gelu layer.0": 12288 } } },
  ],
  targets: [
    target("navi21", [taken("aaa"), taken("bbb", { waves: 4 })]),
    target("sm_90", [taken("aaa", { spilled: 1232 }), { digest: "bbb", refused: "too | odd" }]),
  ],
};

/** The record with another result of `aaa` on navi21. */
function withResult(change: Partial<KernelNumbers> | { refused: string }): KernelsRecord {
  const own = "refused" in change ? { digest: "aaa", ...change } : taken("aaa", change);
  const [{ kernels }] = record.targets as Extract<TargetRecord, { compiler: string }>[];
  return { ...record, targets: [target("navi21", [own, kernels[1]]), record.targets[1]] };
}

Deno.test("the page: launches that spill by program, the worst kernel first, refusals and missing targets", () => {
  const missing = { name: "xe-lp", gpu: "Intel's", missing: "xe-lp: libdrm's headers" };
  const page = renderKernels({ ...record, targets: [...record.targets, missing] });
  const row = (...cells: string[]) => new RegExp(`^\\| *${cells.join(" *\\| *")} *\\|$`, "m");
  assert.match(page, row("A LoRA", "2", "1", "0", "2"));
  assert.match(page, row("A BoRA", "2", "1", "0", "1"));
  assert.match(page, row("sm\\\\_90", "a GPU", "Mesa 1", "1", "1 of 1", "1,232 registers"));
  assert.match(page, row("xe-lp", "Intel's", "missing", "–", "–", "–"));
  assert.match(page, /^- Missing: xe-lp: libdrm's headers$/m);
  const grid = "96 … 960 × 32";
  assert.match(
    page,
    row(
      "1 matmul: matmul query",
      "64",
      "\\*\\*1,232\\*\\*",
      "16 × 32",
      "8,704",
      grid,
      "300: 256 \\+ 20, 16",
      "93 %",
    ),
  );
  assert.ok(page.indexOf("| 2 gelu: gelu") < page.indexOf("| 1 matmul: matmul"), "fewest in flight first");
  const spilling = renderKernels(withResult({ spilled: 1, waves: 32 }));
  assert.ok(spilling.indexOf("| 1 matmul: matmul") < spilling.indexOf("| 2 gelu: gelu"), "spills first");
  assert.match(page, /^- bbb: too \\\| odd$/m);
  assert.match(page, /on 8 texts of 128 tokens; a token's has the\nlinear layers of one alone/);
  const decoders = "the others are one layer";
  assert.match(
    renderKernels({ ...record, decoders }),
    /on 8 texts of 128 tokens; the others are one layer\. A kernel/,
  );
});

Deno.test("a record with a field that is wrong is refused by its name", async () => {
  await withFolder(async (folder) => {
    const path = `${folder}/kernels.json`;
    const wrong = { ...record, targets: [target("navi21", [taken("aaa", { spilled: -1 })])] };
    await Deno.writeTextFile(path, JSON.stringify(wrong));
    await assert.rejects(() => kernelsPage.rendered(path), /kernels\.json: targets\.0\.kernels\.0/);
    await assert.rejects(() => readResults(path), /kernels\.json: targets\.0\.kernels\.0/);
  });
});

Deno.test("compared: a kernel that spills, holds fewer in flight, does more beside, or is refused, is worse", () => {
  const mix = (otherVector: number) => ({ hotLoop: { ...numbers.hotLoop, otherVector } });
  const said = (base: KernelsRecord, head: KernelsRecord) =>
    compareKernels(base, head).rows.map(({ verdict, difference }) => `${verdict}: ${difference}`);
  const cases: [Partial<KernelNumbers> | { refused: string }, string[]][] = [
    [{}, []],
    [{ registers: 70, workgroupBytes: 9000 }, []],
    [{ spilled: 12 }, ["worse: spilled +12"]],
    [{ registers: 96, waves: 10 }, ["worse: in flight −192"]],
    [{ lanes: 16 }, ["worse: in flight −256"]],
    [mix(30), []],
    [mix(60), ["worse: share −12 points"]],
    [{ refused: "no" }, ["worse: refused: no"]],
  ];
  for (const [change, expected] of cases) assert.deepEqual(said(record, withResult(change)), expected);
  assert.deepEqual(said(withResult({ spilled: 12 }), record), ["better: spilled −12"]);
  assert.deepEqual(said(withResult({ refused: "no" }), record), ["better: no longer refused"]);
  // Worse in one way is worse, whatever got better.
  assert.deepEqual(said(record, withResult({ spilled: 1, waves: 20 })), [
    "worse: spilled +1, in flight +128",
  ]);
});

Deno.test("compared: launches keep their place when their kernel changes; new kernels are judged by their spills", () => {
  const [matmul, gelu] = record.kernels;
  const renamed: KernelsRecord = {
    ...record,
    kernels: [{ ...matmul, digest: "ccc", label: "product" }, gelu],
    targets: [target("navi21", [taken("ccc", { spilled: 7 }), taken("bbb", { waves: 4 })])],
  };
  const { rows, missing } = compareKernels(record, renamed);
  assert.deepEqual(rows.map(({ name, verdict }) => [name, verdict]), [
    ["navi21: product: matmul query, 3 launches", "worse"],
  ]);
  assert.deepEqual(missing, ["sm_90"]);
  const elsewhere: KernelsRecord = {
    ...renamed,
    kernels: [{ ...renamed.kernels[0], launches: { "A LoRA": { "product query": 96 } } }, gelu],
  };
  const moved = compareKernels(record, elsewhere);
  assert.deepEqual(moved.rows.map(({ verdict, difference }) => [verdict, difference]), [
    ["worse", "new, spills 7"],
  ]);
  assert.match(moved.notes.join(" "), /3 launches only in base, such as A LoRA: .*1 launches only in head/);
  assert.throws(
    () => compareKernels(record, { ...record, targets: [target("new", [])] }),
    /no GPU in common/,
  );
});

Deno.test("the comparison's page: only what changed, no interval and no p", () => {
  const page = (head: KernelsRecord) => comparePage([compareKernels(record, head)], "base", "head");
  const worse = page(withResult({ spilled: 12 }));
  assert.match(worse, /^## Kernels on GPUs that are not there: 1 worse$/m);
  assert.match(worse, /^\| row +\| +base \| +head \| +difference \| +verdict \|$/m);
  assert.match(
    worse,
    /^\| navi21: .*, 3 launches \| +0, 16 × 32, 93 % \| 12, 16 × 32, 93 % \| +spilled \+12 \| \*\*worse\*\* \|$/m,
  );
  assert.doesNotMatch(worse, /Holm|interval/);
  const same = page(record);
  assert.match(same, /: nothing changed$/m);
  assert.match(same, /^4 of 4 launches run the same kernel\.$/m);
  assert.match(
    page({ ...record, environment: { ...record.environment, driver: "Mesa 2" } }),
    /environments differ/,
  );
});

Deno.test("deno task compare: exits with 1 on an injected spill, with 0 on the same record, with 2 on two kinds", async () => {
  await withFolder(async (folder) => {
    const write = async (name: string, content: KernelsRecord) => {
      await Deno.writeTextFile(`${folder}/${name}.json`, JSON.stringify(content));
      return `${folder}/${name}.json`;
    };
    const base = await write("base", record);
    const spilling = await write("head", withResult({ spilled: 1 }));
    const run = (...args: string[]) => runTask("compare", args);
    const worse = await run(base, spilling);
    assert.equal(worse.code, 1);
    assert.match(worse.stdout, /\*\*worse\*\*/);
    assert.match(worse.stderr, /^Kernels on GPUs that are not there: 1 worse$/m);
    const same = await run(base, base);
    assert.equal(same.code, 0);
    assert.match(same.stderr, /nothing changed/);
    const mixed = await run(base, new URL("../results/bench.json", import.meta.url).pathname);
    assert.equal(mixed.code, 2);
    assert.match(mixed.stderr, /one of the two holds kernels, the other speed/);
    assert.match((await run(base, base, "--threshold", "5")).stderr, /--threshold is for accuracy and speed/);
  });
});

Deno.test("deno task kernels refuses a target that it does not know", async () => {
  const { code, stderr } = await runTask("kernels", ["--target", "voodoo"]);
  assert.equal(code, 2);
  assert.match(stderr, /no target "voodoo"; have navi21, gfx1100, vega10, xe-lp, sm_86, sm_90/);
});

/** A GPU whose compiler cannot be had, or takes a part of the kernels. */
function madeUp(name: string, prepare: Target["prepare"]): Target {
  return { name, gpu: "a GPU", waveUnit: "waves", spillUnit: "registers", prepare };
}

const absent = madeUp("absent", () => Promise.reject(new MissingTarget("install it")));

/** Takes what `takes` says of the path. */
function taking(name: string, takes: (spirv: string) => boolean): Target {
  const compile = (path: string) =>
    takes(path) ? Promise.resolve(numbers) : Promise.reject(new Error("not this one"));
  return madeUp(name, () => Promise.resolve({ version: "Mesa 1", compile, [Symbol.dispose]: () => {} }));
}

const missing = await missingOf([compilerOfC, vulkanHeaders, mesaDriver("lvp"), mesaDriver("radeon")]);
if (missing.length > 0) {
  console.warn(`not here, so nothing is compiled for AMD: ${missing.map(({ is }) => is).join(", ")}`);
}

Deno.test({
  name: "the small kernel compiled for an AMD GPU that is not there, from its WGSL",
  ignore: missing.length > 0,
  fn: () =>
    withFolder(async (folder) => {
      const kernel = renderKernel({ name: "small", text: await Deno.readTextFile(small("kernel.wgsl")) });
      const odd = renderKernel({ name: "odd", text: "@compute @workgroup_size(1) fn main() { odd }" });
      await compileC("spirv_layer", `${folder}/layer.so`, ["-shared", "-fPIC"]);
      const kernels = new Map([[`${folder}/small.spv`, kernel], [`${folder}/odd.spv`, odd]]);
      const refused = await compileToSpirv(kernels, `${folder}/layer.so`, folder);
      assert.deepEqual([...refused.keys()], [`${folder}/odd.spv`]);
      const navi21 = targets.find(({ name }) => name === "navi21")!;
      using compiler = await navi21.prepare(folder);
      assert.match(compiler.version, /^Mesa \d/);
      const { registers, spilled, workgroupBytes, hotLoop } = await compiler.compile(`${folder}/small.spv`);
      assert.ok(registers! >= 8 && registers! <= 64, `${registers}`);
      assert.deepEqual([spilled, workgroupBytes, hotLoop.memory > 0], [0, 1024, true]);
      assert.equal(hotLoop.multiplyAdds % 4, 0);
    }),
});

Deno.test({
  name: "a run: a refused kernel is recorded, a missing target is an error unless it may be skipped",
  ignore: missing.length > 0,
  fn: async () => {
    const run = (chosen: readonly Target[], skipMissing: boolean) =>
      compileKernels(chosen, { skipMissing, log: () => {} });
    const all = taking("all", () => true);
    const most = taking("most", (path) => !path.endsWith("/0.spv"));
    const none = taking("none", () => false);
    await assert.rejects(
      () => run([all, absent], false),
      /absent, a GPU: install it; or go on without it: --skip-missing/,
    );
    await assert.rejects(
      () => run([none], true),
      /none, a GPU: the compiler refuses every kernel: not this one/,
    );
    const { targets: made, kernels, programs } = await run([all, absent, most], true);
    assert.deepEqual(made[1], { name: "absent", gpu: "a GPU", missing: "absent, a GPU: install it" });
    assert.deepEqual(
      made.flatMap((own) => "kernels" in own ? [own.kernels.filter((result) => "refused" in result)] : []),
      [[], [{ digest: kernels[0].digest, refused: "not this one" }]],
    );
    assert.equal(programs.length, 17);
  },
});
