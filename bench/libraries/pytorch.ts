/**
 * PyTorch on the CPU and, where it has CUDA, on the GPU. The script `pytorch.py` runs in a process of its own for
 * each, answers requests one at a time and measures its own times.
 */

import { fileURLToPath } from "node:url";
import { lazily } from "../work.ts";
import type { Input, Runner, Ways } from "../work.ts";

/** A function of `pytorch.py`. */
type TorchWork =
  | "product"
  | "sum_of_arrays"
  | "attention"
  | "attention_gradient"
  | "layer_norm"
  | "cross_entropy"
  | "adamw"
  | "encoder"
  | "lora_step";

interface Answer {
  readonly milliseconds?: number;
  readonly bytes?: readonly number[];
}

/** Where PyTorch computes. */
export type TorchDevice = "cpu" | "cuda";

/** What the script prints when it starts. */
export interface TorchVersion {
  readonly version: string;
  /** The GPU's name, or how many threads of the CPU. */
  readonly place: string;
}

/** The running script. It ends with this process, because its input ends then. */
class Torch {
  readonly #process: Deno.ChildProcess;
  readonly #input: WritableStreamDefaultWriter<Uint8Array<ArrayBuffer>>;
  readonly #output: ReadableStreamDefaultReader<Uint8Array<ArrayBuffer>>;
  /** Bytes received but not read yet. */
  #received: Uint8Array<ArrayBuffer> = new Uint8Array();

  constructor(device: TorchDevice) {
    const script = fileURLToPath(new URL("./pytorch.py", import.meta.url));
    this.#process = new Deno.Command("python3", { args: [script, device], stdin: "piped", stdout: "piped" })
      .spawn();
    this.#input = this.#process.stdin.getWriter();
    this.#output = this.#process.stdout.getReader();
  }

  async ask(request: object, inputs: readonly Input[] = []): Promise<Answer> {
    await this.#input.write(new TextEncoder().encode(`${JSON.stringify(request)}\n`));
    for (const { data } of inputs) await this.#input.write(new Uint8Array(data.buffer));
    return await this.line();
  }

  /** Reads the next line. */
  async line<T extends object = Answer>(): Promise<T> {
    let end = -1;
    while ((end = this.#received.indexOf(10)) < 0) await this.#more();
    return JSON.parse(new TextDecoder().decode(this.#take(end + 1)));
  }

  async floats(bytes: number): Promise<Float32Array> {
    while (this.#received.length < bytes) await this.#more();
    return new Float32Array(this.#take(bytes).buffer);
  }

  /** Removes the first `size` bytes and returns a copy of them. */
  #take(size: number): Uint8Array<ArrayBuffer> {
    const taken = this.#received.slice(0, size);
    this.#received = this.#received.subarray(size);
    return taken;
  }

  async #more(): Promise<void> {
    const { value, done } = await this.#output.read();
    if (done) {
      const { code } = await this.#process.status;
      throw new Error(`bench/libraries/pytorch.py ended with code ${code}; its error is above`);
    }
    const joined = new Uint8Array(this.#received.length + value.length);
    joined.set(this.#received);
    joined.set(value, this.#received.length);
    this.#received = joined;
  }
}

async function open(device: TorchDevice) {
  const torch = new Torch(device);
  return { torch, about: await torch.line<TorchVersion>() };
}

const opened = { cpu: lazily(() => open("cpu")), cuda: lazily(() => open("cuda")) };

/** Fails where PyTorch is not here, or has no such device. */
const probes = { cpu: "import torch", cuda: "import torch; torch.zeros(1, device='cuda')" };

/** What the script says of itself; undefined without PyTorch on `device`, when python3 fails at its probe. */
export async function torchVersion(device: TorchDevice): Promise<TorchVersion | undefined> {
  try {
    const { success } = await new Deno.Command("python3", {
      args: ["-c", probes[device]],
      stderr: "null",
    }).output();
    return success ? (await opened[device]()).about : undefined;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

/** One runner per device. */
export function torchWays(runner: (device: TorchDevice) => Promise<Runner>): Ways {
  return { "PyTorch": () => runner("cpu"), "PyTorch CUDA": () => runner("cuda") };
}

/** A runner of a work of `pytorch.py`; its results come from `resultRuns` consecutive runs. */
export async function torchRunner(
  device: TorchDevice,
  work: TorchWork,
  inputs: Readonly<Record<string, Input>>,
  options: object = {},
  resultRuns = 1,
): Promise<Runner> {
  const { torch } = await opened[device]();
  const shapes = Object.fromEntries(Object.entries(inputs).map(([name, { shape }]) => [name, shape]));
  await torch.ask({ do: "open", work, inputs: shapes, options }, Object.values(inputs));
  return {
    async results() {
      const { bytes } = await torch.ask({ do: "results", times: resultRuns });
      const values = [];
      for (const size of bytes!) values.push(await torch.floats(size));
      return values;
    },
    lap: async (times) => (await torch.ask({ do: "lap", times })).milliseconds,
    // The next work replaces this one.
    dispose() {},
  };
}
