/** Every fault that a user's run can meet: how the tests provoke it, and the outcome it must have. */

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { attach } from "../../../lib/adapters/attach.ts";
import { lora } from "../../../lib/adapters/lora.ts";
import { saveAdapter } from "../../../lib/adapters/peft.ts";
import { startingWeights } from "../../../lib/adapters/starting_weights.ts";
import { loadEncoder } from "../../../lib/models/load_encoder.ts";
import type { Weight } from "../../../lib/models/model.ts";
import { readCells } from "../../../lib/report/cell_table.ts";
import { changes, outputOf, runTask, startTask } from "../command.ts";
import { Disk } from "../disks.ts";
import type { Ended, Scene } from "./scene.ts";

/** One fault. */
export interface Fault {
  readonly name: string;
  /** How it is provoked. */
  readonly provoked: string;
  /** The exit code. */
  readonly code: number;
  /** What is printed to standard error; undefined where nothing is. */
  readonly message: RegExp | undefined;
  /** The expected state of the disk afterwards. */
  readonly after: string;
  /** Brings the fault about in the folder `out` of the scene, and asserts what is on the disk afterwards. */
  provoke(scene: Scene, out: string): Promise<Ended>;
}

const resumed = "the finished row and the last checkpoint; with --resume the results of an undisturbed run";
const untouched = "as before: no byte has changed";
const checkpointed = ["glue.checkpoint"];

/** Runs the command with a module preloaded; the finished row must be kept. */
function preloaded(preload: string, left: readonly string[] = []) {
  return async (scene: Scene, out: string) => {
    scene.copyHalf(out);
    const ended = await scene.reproduce(out, { preload });
    scene.keptFirstRow(out, left);
    return ended;
  };
}

/** Starts the command, stops it when it has written a second checkpoint, and goes on. */
function signalled(signal: Deno.Signal, left: readonly string[] = []) {
  return async (scene: Scene, out: string) => {
    scene.copyHalf(out);
    const child = scene.start(out);
    await changes(`${scene.root}/${out}/glue.checkpoint`, 2);
    child.kill(signal);
    const ended = await outputOf(child);
    scene.keptFirstRow(out, [...checkpointed, ...left]);
    await scene.recovers(out);
    return ended;
  };
}

/** `deno task finetune` on a few rows; it must leave no folder. */
async function finetuned(scene: Scene, out: string, ...options: string[]): Promise<Ended> {
  const train = `${scene.root}/${out}.csv`;
  Deno.writeTextFileSync(train, "text,label\na b,0\nb c,1\nc,0\nab,1\n");
  const columns = ["--train", train, "--dev", train, "--text", "text", "--label", "label"];
  const into = `${scene.root}/${out}`;
  const ended = await runTask("finetune", [
    ...["--model", `${scene.root}/bert`, ...columns, "--method", "LoRA", "--out", into],
    ...options,
  ]);
  for (const path of [into, `${into}.part`, `${into}.lock`]) assert.ok(!existsSync(path), path);
  return ended;
}

export const faults: readonly Fault[] = [
  {
    name: "GPU device lost in the midst of a cell",
    provoked: "`device.destroy()` right after a step's submit",
    code: 1,
    message: /^The GPU device was lost .* Run it again \(deno task reproduce: with --resume\)/,
    after: resumed,
    async provoke(scene, out) {
      scene.copyHalf(out);
      const env = { FAULT_FILE: `${scene.root}/${out}/glue.checkpoint` };
      const ended = await scene.reproduce(out, { preload: "lose_device", env });
      scene.keptFirstRow(out, checkpointed);
      await scene.recovers(out);
      return ended;
    },
  },
  {
    name: "allocation refused",
    provoked: "an out-of-memory error in place of a buffer",
    code: 1,
    message: /^Out of GPU memory: "loss ring" needs \d+ bytes with \d+ already in use\..*smaller batch/,
    after: "the finished row",
    provoke: preloaded("refuse_memory"),
  },
  {
    name: "more than the adapter can bind",
    provoked: "`finetune --batch-size 100000`",
    code: 1,
    message: /^Buffer ".*" needs \d+ bytes; .* binds at most \d+\. Use a smaller batch/,
    after: "no folder",
    provoke: (scene, out) => finetuned(scene, out, "--batch-size", "100000", "--max-tokens", "512"),
  },
  {
    name: "a shader that does not compile",
    provoked: "a type error at the end of the optimizer's kernel",
    code: 1,
    message: /^Kernel "adamw.*" does not compile:\n +line \d+:\d+ [^]*1\.5/,
    after: "the finished row",
    provoke: preloaded("break_shader"),
  },
  {
    name: "disk full while a checkpoint is saved",
    provoked: "a tmpfs that holds one checkpoint and not two (where none can be mounted, /dev/full)",
    code: 1,
    message: /glue\.checkpoint cannot be written \(No space left on device.*make room on the disk/,
    after:
      "the finished row and the checkpoint before; with room and --resume the results of an undisturbed run",
    async provoke(scene, out) {
      const folder = `${scene.root}/${out}`;
      await using disk = await Disk.at(folder, "176k");
      scene.copyHalf(out);
      if (!disk) await Deno.symlink("/dev/full", `${folder}/glue.checkpoint.part`);
      const ended = await scene.reproduce(out);
      scene.keptFirstRow(out, disk ? checkpointed : ["glue.checkpoint.part"]);
      if (disk) await disk.change("size=4m");
      else await Deno.remove(`${folder}/glue.checkpoint.part`);
      await scene.recovers(out);
      return ended;
    },
  },
  {
    name: "results folder that cannot be written",
    provoked: "a read-only tmpfs (where none can be mounted, a file in place of the folder)",
    code: 1,
    message: /cannot be written \((Read-only file system|Not a directory).*write to another folder/,
    after: untouched,
    async provoke(scene, out) {
      await using disk = await Disk.at(`${scene.root}/${out}`, "1m");
      scene.copyHalf(out);
      await disk?.change("ro");
      const ended = await scene.reproduce(disk ? out : `${out}/glue.json/out`);
      scene.unchanged(out);
      return ended;
    },
  },
  {
    name: "Ctrl-C",
    provoked: "SIGINT between two checkpoints",
    code: 130,
    message: /^Stopped\. The same command goes on from the last checkpoint\.$/,
    after: resumed,
    provoke: signalled("SIGINT"),
  },
  {
    name: "SIGTERM",
    provoked: "SIGTERM between two checkpoints",
    code: 143,
    message: /^Stopped\. The same command goes on from the last checkpoint\.$/,
    after: resumed,
    provoke: signalled("SIGTERM"),
  },
  {
    name: "kill -9",
    provoked: "SIGKILL between two checkpoints",
    code: 137,
    message: undefined,
    after: `${resumed}; its lock is taken over`,
    provoke: signalled("SIGKILL", ["glue.lock"]),
  },
  {
    name: "two runs writing one folder",
    provoked: "the same command while it runs",
    code: 1,
    message:
      /^another run is writing .*glue \(process \d+ on \S+\): wait until it has ended, or write to another folder$/,
    after: "the first run ends with the results of an undisturbed one",
    async provoke(scene, out) {
      scene.copyHalf(out);
      const first = scene.start(out);
      await changes(`${scene.root}/${out}/glue.lock`, 1);
      const second = await scene.reproduce(out);
      const { code, stderr } = await outputOf(first);
      assert.equal(code, 0, stderr);
      await scene.isWhole(out);
      return second;
    },
  },
  {
    name: "a second shard in one folder",
    provoked: "`--shard 2/2` where another shard's cells are, without --resume",
    code: 2,
    message: /glue\.json may hold another part's cells.*add --resume to keep them, or use another --out$/,
    after: untouched,
    async provoke(scene, out) {
      scene.copyHalf(out);
      const ended = await scene.shard(out);
      scene.unchanged(out);
      return ended;
    },
  },
  {
    name: "clock that goes backwards",
    provoked: "an hour back at every reading",
    code: 0,
    message: undefined,
    after: "the results of an undisturbed run; no time is negative",
    async provoke(scene, out) {
      scene.copyHalf(out);
      const ended = await scene.reproduce(out, { preload: "turn_clock_back" });
      await scene.isWhole(out);
      for (const { times } of await readCells(`${scene.root}/${out}/glue.json`)) {
        assert.ok(Object.values(times).every((seconds) => seconds >= 0), JSON.stringify(times));
      }
      return ended;
    },
  },
  {
    name: "NaN in the base's weights",
    provoked: "one value of `model.safetensors`",
    code: 1,
    message:
      /model\.safetensors: tensor ".*" holds values that are not finite: download or save the file again$/,
    after: "the finished row",
    async provoke(scene, out) {
      scene.copyHalf(out);
      const bert = `${scene.root}/nan/bert`;
      await Deno.mkdir(bert, { recursive: true });
      for await (const { name } of Deno.readDir(`${scene.root}/bert`)) {
        await Deno.copyFile(`${scene.root}/bert/${name}`, `${bert}/${name}`);
      }
      using file = await Deno.open(`${bert}/model.safetensors`, { write: true });
      await file.seek(-4, Deno.SeekMode.End);
      await file.write(new Uint8Array(Float32Array.of(NaN).buffer));
      const ended = await scene.reproduce(out, {}, "nan/bert");
      scene.keptFirstRow(out);
      return ended;
    },
  },
  {
    name: "NaN in the loss",
    provoked: "`finetune --learning-rate 1e30`",
    code: 1,
    message: /^Step \d+: loss .*use a lower learning rate or look at the data/,
    after: "no folder",
    provoke: (scene, out) => finetuned(scene, out, "--learning-rate", "1e30", "--epochs", "9"),
  },
  {
    name: "corrupt checkpoint",
    provoked: "a safetensors file that is cut short in its place, and --resume",
    code: 1,
    message: /glue\.checkpoint.*truncated.*or remove the file to start anew\.$/,
    after: "the finished row, and the checkpoint as it was",
    async provoke(scene, out) {
      scene.copyHalf(out);
      const path = `${scene.root}/${out}/glue.checkpoint`;
      const bytes = (await Deno.readFile(`${scene.root}/bert/model.safetensors`)).subarray(0, 5000);
      await Deno.writeFile(path, bytes);
      const ended = await scene.reproduce(out);
      scene.keptFirstRow(out, checkpointed);
      assert.deepEqual(await Deno.readFile(path), bytes);
      return ended;
    },
  },
  {
    name: "adapter of another base",
    provoked: "`merge` with an adapter of a model that differs in one value",
    code: 1,
    message:
      /trained on other values than "bert" has \(its base was called "bert"\): 1 of 23 weights differ, .* train an adapter on this one$/,
    after: "no folder",
    async provoke({ root }, out) {
      const [adapter, into] = [`${root}/${out}-adapter`, `${root}/${out}`];
      await saveForAnother(`${root}/bert`, adapter);
      const args = ["--model", `${root}/bert`, "--adapter", adapter, "--out", into];
      const ended = await outputOf(startTask("merge", args));
      for (const path of [into, `${into}.part`, `${into}.lock`]) assert.ok(!existsSync(path), path);
      return ended;
    },
  },
];

/** Saves an untrained adapter for the encoder in `folder`, with another value in one of its weights. */
async function saveForAnother(folder: string, adapter: string): Promise<void> {
  const model = await loadEncoder(folder);
  const name = "bert.embeddings.LayerNorm.bias";
  const { shape, data } = model.weights.get(name)!;
  const changed = { shape, data: data.with(0, 1) };
  const another = { ...model, weights: new Map<string, Weight>([...model.weights, [name, changed]]) };
  const plan = attach(another, lora, { r: 1, target: ["query"] });
  await saveAdapter(adapter, another, plan, startingWeights(another, plan, 0));
}
