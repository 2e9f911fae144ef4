/** Shows a run's progress on the terminal. */

import cliProgress from "npm:cli-progress@3.12.0";

/** On a terminal, shows a bar with an ETA; otherwise prints one line per cell. */
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
