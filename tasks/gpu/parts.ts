/** The parts of `deno task gpu`: the commands that there are, in the order of what matters first. */

import configuration from "../../deno.json" with { type: "json" };
import { drivers } from "../conformance/drivers.ts";
import {
  benchFigures,
  conformanceFigures,
  costsFigures,
  doctorFigures,
  type Figures,
  gpuPeer,
  peaksFigures,
  tableFigures,
} from "./figures.ts";

/** What parts are run on, and where they write. */
export interface Place {
  /** The adapter's name. */
  readonly adapter: string;
  readonly software: boolean;
  /** An absolute path. */
  readonly folder: string;
}

/** A part. To add one, add it to the list. */
export interface Part {
  readonly name: string;
  readonly title: string;
  /** Seconds that it may take. On a GPU all together have eight minutes. */
  readonly seconds: number;
  /** The name of its record in the folder, without `.json`. */
  readonly record: string;
  /** Whether the record has a page beside it. */
  readonly hasPage: boolean;
  /** Whether the record is what it prints. */
  readonly printsRecord?: boolean;
  /** The program of Deno that it is, and its arguments. */
  command(place: Place): readonly string[];
  /** The main figures of the record at `path`. */
  figures(path: string, place: Place): Promise<Figures>;
}

type TaskName = keyof typeof configuration.tasks;

/** The program that is a task of deno.json, with more arguments. */
function task(name: TaskName, ...args: readonly string[]): string[] {
  const program = configuration.tasks[name].command.split(" && ").at(-1)!;
  return [...program.split(" ").slice(1), ...args];
}

/** A program that is no task, with what the task `gpu` is run with. */
function module(path: string, ...args: readonly string[]): string[] {
  return [...task("gpu").with(-1, path), ...args];
}

/** The driver of `deno task conformance` that runs on this adapter. */
function driverOf({ adapter, software }: Place): string {
  if (!software) return "gpu";
  return drivers.find(({ id }) => adapter.toLowerCase().includes(id))?.id ?? "llvmpipe";
}

/** Works of the bench: a software driver does fewer in the time. */
const raced = {
  hardware: ["steps", "products", "skinny", "attention", "--laps", "3"],
  software: ["steps", "skinny", "--only", "8", "--laps", "2"],
};

export const parts: readonly Part[] = [
  {
    name: "doctor",
    title: "Doctor",
    seconds: 30,
    record: "doctor",
    hasPage: false,
    printsRecord: true,
    command: () => task("doctor", "--json"),
    figures: doctorFigures,
  },
  {
    name: "conformance",
    title: "Conformance",
    seconds: 90,
    record: "conformance",
    hasPage: true,
    command: (place) => task("conformance", "--driver", driverOf(place), "--out", place.folder),
    figures: conformanceFigures,
  },
  {
    name: "peaks",
    title: "Peaks",
    seconds: 20,
    record: "peaks",
    hasPage: false,
    command: ({ folder }) => module("tasks/gpu/peaks.ts", `${folder}/peaks.json`),
    figures: peaksFigures,
  },
  {
    name: "bench",
    title: "Products and steps",
    seconds: 165,
    record: "bench",
    hasPage: true,
    command: ({ folder, software }) =>
      task("bench", ...raced[software ? "software" : "hardware"], "--peer", gpuPeer, "--out", folder),
    figures: (path, { folder }) => benchFigures(path, `${folder}/peaks.json`),
  },
  {
    name: "costs",
    title: "Costs",
    seconds: 100,
    record: "costs",
    hasPage: true,
    command: ({ folder }) => task("costs", "--out", folder),
    figures: costsFigures,
  },
  {
    name: "table",
    title: "The first table",
    seconds: 75,
    record: "first-table",
    hasPage: true,
    command: ({ folder, software }) =>
      task("reproduce", ...software ? ["--profile", "smoke"] : [], "--out", folder),
    figures: tableFigures,
  },
];
