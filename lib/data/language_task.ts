/** The user's own rows of text for a causal model, as a task. */

import { type LanguageRow, readLanguageRows } from "./language_rows.ts";
import { checkOptionNames } from "../option_names.ts";
import { inHashOrder } from "./split.ts";
import type { Example, Split, Task } from "./task.ts";

/** Options of `loadLanguageTask`. */
export interface LanguageTaskOptions {
  /**
   * The rows to train on, `.jsonl` or `.json`: `{prompt, completion}`, `{instruction, input, output}`, `{messages}` or `{text}`.
   */
  readonly train: string;
  /** Those to evaluate on; by default a tenth of train, held out by a hash. */
  readonly dev?: string;
  /** Whether only answers are learnt (the default), or prompts too. */
  readonly loss?: "completion" | "all";
  /** Longer rows are cut at their ends. */
  readonly maxTokens: number;
}

/**
 * Reads rows as a task whose objective is the language: the next tokens of answers, scored by perplexity.
 * @throws Error that names the file and the line that is malformed, as `readLanguageRows` does, and when there are too few rows to
 * hold some out; and for an option or a loss that there is not.
 *
 * @example
 * ```ts ignore
 * import { attach, fineTune, loadDecoder, loadLanguageTask, lora, openGpu } from "@bora/webgpu";
 *
 * using gpu = await openGpu();
 * const model = await loadDecoder("smollm2");
 * const task = await loadLanguageTask({ train: "questions.jsonl", maxTokens: 256 });
 * const adapter = attach(model, lora, { r: 8, target: ["q_proj", "v_proj"] });
 * await fineTune({ gpu, model, adapter, task, learningRate: 1e-3, epochs: 1, batchSize: 16, seed: 0 });
 * ```
 */
export async function loadLanguageTask(options: LanguageTaskOptions): Promise<Task> {
  checkOptionNames("loadLanguageTask", options, ["train", "dev", "loss", "maxTokens"]);
  const { train: path, dev: devPath, loss = "completion", maxTokens } = options;
  checkLoss(loss);
  const train = (await readLanguageRows(path)).map(exampleOf);
  const split = devPath === undefined
    ? heldOut(train, path)
    : { train, dev: (await readLanguageRows(devPath)).map(exampleOf) };
  return {
    name: path.split(/[/\\]/).at(-1)!,
    description: "text → what comes next",
    source: path,
    objective: "language",
    labels: [],
    metrics: ["perplexity"],
    maxTokens,
    loss,
    load: () => Promise.resolve(split),
  };
}

/** Throws an Error for a loss that there is not. */
export function checkLoss(loss: unknown): void {
  if (loss === "completion" || loss === "all") return;
  throw new Error(`loss is ${JSON.stringify(loss)}: use "completion" or "all"`);
}

function exampleOf(row: LanguageRow): Example {
  return { id: row.where, texts: [], label: 0, row };
}

/** Holds a tenth out, rows that are alike together. */
function heldOut(examples: readonly Example[], path: string): Split {
  const key = ({ row }: Example) => JSON.stringify({ ...row, where: undefined });
  const ordered = inHashOrder(examples, key);
  let cut = ordered.length - Math.ceil(ordered.length / 10);
  while (cut > 0 && key(ordered[cut - 1]) === key(ordered[cut])) cut--;
  if (cut === 0) {
    throw new Error(`${path} has too few different rows to hold a tenth out: add some, or give a dev file`);
  }
  return { train: ordered.slice(0, cut), dev: ordered.slice(cut) };
}
