/** Progress of a run on the terminal. */

import cliProgress from "npm:cli-progress@3.12.0";

/** Shows a bar with an ETA on a terminal, a line a cell otherwise. */
export class Ticker {
  readonly #bar = Deno.stdout.isTerminal()
    ? new cliProgress.SingleBar({ format: "{bar} {percentage}% | ETA {eta_formatted} | {name}" })
    : undefined;

  constructor(total: number) {
    this.#bar?.start(total, 0, { name: "" });
  }

  step(done: number, name: string): void {
    this.#bar?.update(done, { name });
  }

  cell(name: string, text: string): void {
    if (!this.#bar) console.log(`${name}: ${text}`);
  }

  stop(): void {
    this.#bar?.stop();
  }
}
