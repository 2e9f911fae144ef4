/**
 * Defines what a table of `deno task reproduce` is. To add one: a file here that exports a `Table`, and a
 * line in `registry.ts`.
 */

import type { Scoring, Task } from "../../lib/data/task.ts";
import type { System } from "../../lib/adapters/systems.ts";
import type { Page } from "../../lib/report/page.ts";
import type { Cell } from "../../lib/report/schema.ts";
import type { Protocol, TunedTraining } from "../protocols/protocol.ts";
import type { Run } from "../run_cell.ts";

/**
 * A row: a system, its target modules, and the label of the row whose tuned learning rate it uses (by default
 * its own).
 */
export interface Row extends System {
  readonly target?: readonly string[];
  readonly tunedAs?: string;
  /** Evaluated as it is: nothing is trained, so one seed says all. */
  readonly untrained?: true;
}

/** How a profile trains: which tasks, how much of them, and for how long. */
export interface Profile {
  readonly tasks: readonly string[];
  readonly train: number;
  readonly dev: number;
  /**
   * With tuned learning rates: the number of epochs for every task, with the embedded suite's batch size, or both; or a
   * published protocol, which sets all of these.
   */
  readonly training: number | TunedTraining | Protocol;
  readonly seeds: number;
  /** Rows, by label, that are run with more seeds than the others. */
  readonly moreSeeds?: Readonly<Record<string, number>>;
  /** Labels of the rows to run. Default: all. */
  readonly rows?: readonly string[];
  /** Trains as with --recompute, since its models are too large otherwise. */
  readonly recompute?: true;
  /** Of a table whose every training is tested on several data sets: how. */
  readonly tests?: ProfileTests;
}

/** How trainings are tested: see `llmAdaptersTestedTask`. */
export interface ProfileTests {
  readonly sets: readonly string[];
  readonly prompts: string;
  readonly scorings: readonly Scoring[];
}

/** A chart: the end of its file name, and a Vega-Lite specification. */
export interface Chart {
  readonly name: string;
  readonly caption: string;
  readonly svg: () => Promise<string>;
}

/** A table of fine-tuned cells. */
export interface Table {
  /** Its name on the command line and in file names. A table for encoders and one for decoders may share it. */
  readonly name: string;
  readonly title: string;
  /**
   * Set if it is for decoders: the one that it is run on unless another is named. Its files have the model's name after its own.
   */
  readonly decoder?: string;
  readonly rows: readonly Row[];
  /** The row that the others are tested against, seed by seed. */
  readonly reference: string;
  readonly profiles: Readonly<Record<string, Profile>>;
  /**
   * Set if its tasks are the user's (`--data`) and not the embedded suite's: the folder that is needed, and a
   * description.
   */
  readonly data?: {
    readonly folder: string;
    readonly setting: string;
    /** The task of a name, if it is none of the families of tasks. */
    task?(name: string, folder: string, tests: ProfileTests): Task;
  };
  /** The paper's finding, and what these cells say about it. */
  readonly finding?: { readonly paper: string; here(cells: readonly Cell[]): string };
  /** Sections between the scores and the costs. Default: every row compared with the reference. */
  sections?(cells: readonly Cell[]): readonly string[] | Promise<readonly string[]>;
  charts(cells: readonly Cell[]): readonly Chart[];
  /** Labels of the rows whose every ΔW's singular values are computed after training. */
  readonly spectra?: readonly string[];
}

/** A table that is not made of fine-tuned cells, and runs itself. */
export interface Study {
  readonly name: string;
  readonly title: string;
  /** The names of its profiles. */
  readonly profiles: readonly string[];
  /** The page of its record. */
  readonly page: Page;
  /** Runs the study and writes its files into `out`. */
  run(run: Run, out: string): Promise<void>;
}
