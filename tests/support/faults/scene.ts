/**
 * The scene in which faults are provoked: a table of two rows, the first finished, the second about to run.
 */

import assert from "node:assert/strict";
import { readCells } from "../../../lib/report/cell_table.ts";
import { metricsOnly } from "../../../lib/report/schema.ts";
import { outputOf, startTask, type Surroundings } from "../command.ts";
import { suiteRows, writeGlueTsv } from "../glue_folders.ts";
import { writeCheckpoint } from "../seeded_checkpoint.ts";
import { tinyBert } from "../tiny_bert.ts";

const rows = ["--method", "LoRA r 8", "--method", "BoRA r 8 b 16"];

/** How a command ended. */
export type Ended = Awaited<ReturnType<typeof outputOf>>;

/** The files of a folder and its subfolders, by where they lie in it. */
function namesIn(folder: string): string[] {
  return [...Deno.readDirSync(folder)].flatMap(({ name, isDirectory }) =>
    isDirectory ? namesIn(`${folder}/${name}`).map((inner) => `${name}/${inner}`) : [name]
  ).toSorted();
}

/** Every file of a folder by name, one character per byte. */
function filesIn(folder: string): Map<string, string> {
  const text = (name: string) => new TextDecoder("latin1").decode(Deno.readFileSync(`${folder}/${name}`));
  return new Map(namesIn(folder).map((name) => [name, text(name)]));
}

/** True for what holds a finished row: the table's record, its cells and their labels. */
const isOfRow = (name: string) => name === "glue.json" || name.startsWith("cells/");

/** A folder with an encoder, data, results of the first row alone (`half`) and of both (`whole`). */
export class Scene {
  private constructor(readonly root: string) {}

  static async create(): Promise<Scene> {
    const scene = new Scene(await Deno.makeTempDir());
    await writeCheckpoint(`${scene.root}/bert`, tinyBert);
    await writeGlueTsv(`${scene.root}/data`, "RTE", await suiteRows("RTE", 96, 32));
    const first = await outputOf(startTask("reproduce", scene.arguments("half", rows.slice(0, 2))));
    assert.equal(first.code, 0, first.stderr);
    scene.copyHalf("whole");
    const second = await scene.reproduce("whole");
    assert.equal(second.code, 0, second.stderr);
    return scene;
  }

  private arguments(out: string, more: readonly string[], model = "bert"): string[] {
    const { root } = this;
    const sources = [
      "--model",
      `${root}/${model}`,
      "--data",
      `${root}/data`,
      "--task",
      "RTE",
      "--seeds",
      "1",
    ];
    return ["glue", ...sources, "--checkpoint-every", "1", "--out", `${root}/${out}`, ...more];
  }

  /** Starts the command for both rows, which goes on with what is in `out`. */
  start(out: string, surroundings: Surroundings = {}, model?: string): Deno.ChildProcess {
    return startTask("reproduce", this.arguments(out, [...rows, "--resume"], model), surroundings);
  }

  /** Runs it. */
  reproduce(out: string, surroundings: Surroundings = {}, model?: string): Promise<Ended> {
    return outputOf(this.start(out, surroundings, model));
  }

  /** Runs one half of the cells without --resume. */
  shard(out: string): Promise<Ended> {
    return outputOf(startTask("reproduce", this.arguments(out, [...rows, "--shard", "2/2"])));
  }

  /** Makes `out` as a run leaves it that has finished the first row. */
  copyHalf(out: string): void {
    for (const name of namesIn(`${this.root}/half`)) {
      const path = `${this.root}/${out}/${name}`;
      Deno.mkdirSync(path.replace(/\/[^/]+$/, ""), { recursive: true });
      Deno.copyFileSync(`${this.root}/half/${name}`, path);
    }
  }

  /** The finished row is there, byte for byte, and no half of a file; `left` names what else the run has left. */
  keptFirstRow(out: string, left: readonly string[] = []): void {
    const [before, after] = [filesIn(`${this.root}/half`), filesIn(`${this.root}/${out}`)];
    for (const name of [...before.keys()].filter(isOfRow)) {
      assert.deepEqual(after.get(name), before.get(name), name);
    }
    assert.deepEqual([...after.keys()], [...before.keys(), ...left].toSorted());
  }

  /** Asserts that the folder is, byte for byte, as `copyHalf` made it. */
  unchanged(out: string): void {
    assert.deepEqual(filesIn(`${this.root}/${out}`), filesIn(`${this.root}/half`));
  }

  /**
   * Asserts that the same command without the fault produces the results and the log of a run without faults.
   */
  async recovers(out: string): Promise<void> {
    const { code, stderr } = await this.reproduce(out);
    assert.equal(code, 0, stderr);
    await this.isWhole(out);
  }

  /** The results and the log in `out` are those of a run that met no fault, and nothing else is left there. */
  async isWhole(out: string): Promise<void> {
    const [whole, own] = [`${this.root}/whole`, `${this.root}/${out}`];
    const cellsOf = async (folder: string) => metricsOnly(await readCells(`${folder}/glue.json`));
    assert.equal(await cellsOf(own), await cellsOf(whole));
    const [expected, found] = [filesIn(whole), filesIn(own)];
    assert.deepEqual([...found.keys()], [...expected.keys()]);
    assert.deepEqual(found.get("glue.log.jsonl"), expected.get("glue.log.jsonl"));
  }
}
