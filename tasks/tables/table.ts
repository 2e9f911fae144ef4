/** What a table of `deno task reproduce` is. To add one: a file here that exports a `Table`, and a line in `registry.ts`. */

import type { System } from "../../lib/adapters/systems.ts";
import type { Page } from "../../lib/report/page.ts";
import type { Cell } from "../../lib/report/schema.ts";
import type { Protocol } from "../protocols/protocol.ts";
import type { Run } from "../run_cell.ts";

/** A row: a system, where it goes, and whose tuned learning rate it takes (its own label's by default). */
export interface Row extends System {
  readonly target?: readonly string[];
  readonly tunedAs?: string;
}

/** How much of each task a profile uses. */
export interface Profile {
  readonly tasks: readonly string[];
  readonly train: number;
  readonly dev: number;
  /** Epochs of every task, at the embedded suite's batch and tuned rates; or a published protocol, which says all of these. */
  readonly training: number | Protocol;
  readonly seeds: number;
  /** Labels of the rows it runs; default all. */
  readonly rows?: readonly string[];
}

/** A chart: the end of its file's name, and a Vega-Lite specification. */
export interface Chart {
  readonly name: string;
  readonly caption: string;
  readonly svg: () => Promise<string>;
}

/** A table of fine-tuned cells. */
export interface Table {
  /** On the command line and in file names. */
  readonly name: string;
  readonly title: string;
  readonly rows: readonly Row[];
  /** The row that others are tested against, seed by seed. */
  readonly reference: string;
  readonly profiles: Readonly<Record<string, Profile>>;
  /** Where its tasks are the user's (`--data`) and not the embedded suite's: what folder is wanted, and what they are. */
  readonly data?: { readonly folder: string; readonly setting: string };
  /** What the paper found, and what these cells say of it. */
  readonly finding?: { readonly paper: string; here(cells: readonly Cell[]): string };
  /** Sections between the scores and the costs. */
  sections?(cells: readonly Cell[]): readonly string[];
  charts(cells: readonly Cell[]): readonly Chart[];
  /** Whether the singular values of every ΔW are computed after training. */
  readonly spectra?: boolean;
}

/** A table that is not made of fine-tuned cells, and runs itself. */
export interface Study {
  readonly name: string;
  readonly title: string;
  /** Profiles it knows. */
  readonly profiles: readonly string[];
  /** Of its record. */
  readonly page: Page;
  /** Runs it and writes its files into `out`. */
  run(run: Run, out: string): Promise<void>;
}
