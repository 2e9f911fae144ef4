/** `deno task bench [group…]`: races this library against its peers and writes results/bench.{md,json,svg}. */

import { parseArgs } from "node:util";
import { openGpu } from "../lib/gpu/device.ts";
import { readBench } from "../lib/report/bench_schema.ts";
import { describeEnvironment } from "../lib/report/environment.ts";
import { outputFolder } from "../tasks/output.ts";
import { asUsage, runCommand, UsageError } from "../tasks/usage.ts";
import { groupsOf, worksHolding } from "./choice.ts";
import { groups } from "./groups.ts";
import { benchPage } from "./page.ts";
import { torchVersion } from "./libraries/pytorch.ts";
import { type Peer, peers } from "./peers.ts";
import { race, type Row, tooLong } from "./race.ts";
import { checkPeers } from "./self_check.ts";
import { type Library, own } from "./work.ts";
import { yardstickRunner } from "./yardstick.ts";

const help = `deno task bench [group…] [options]

Groups (default: all):
${groups.map(({ name, title }) => `  ${name.padEnd(14)} ${title}`).join("\n")}

  --only TEXT only works whose names contain TEXT, such as 512×768×768
  --laps N    laps per work, 2 to 100 (default: 5, or 3 for slow works); use more for deno task compare
  --like FILE use the same runs per lap as this bench.json, so that deno task compare can compare the two
  --alone     run this library without its peers
  --autotune  use the fastest of this library's kernels for each matrix product; see deno task reproduce --help
  --no-autotune  do not: the default on software drivers
  --out DIR   where to write (default: results)
  --help      this text

The first run downloads the other libraries (190 MB).
`;

/** Finds out which peers are available, and writes the page's sentence on all of them. */
async function peersHere(): Promise<{ absent: readonly Library[]; about: string }> {
  const torch = await torchVersion();
  const on = (place: Peer["place"]) =>
    Object.entries(peers).filter(([name, peer]) => peer.place === place && (torch || name !== "PyTorch"))
      .map(([name, { about }]) => `${name} ${name === "PyTorch" ? `${torch!.version}, ` : ""}${about}`);
  const without = torch ? "" : " No PyTorch: `python3 -c 'import torch'` fails here.";
  return {
    absent: torch ? [] : ["PyTorch"],
    about: `Peers on the same adapter: ${on("WebGPU").join("; ")}. On the CPU: ${
      on("CPU").join("; ")
    }.${without}`,
  };
}

function lapsOf(text: string): number {
  const laps = Number(text);
  if (Number.isInteger(laps) && laps >= 2 && laps <= 100) return laps;
  throw new UsageError(`--laps wants a whole number from 2 to 100, not "${text}"`);
}

async function main(): Promise<void> {
  const { values, positionals } = asUsage(() =>
    parseArgs({
      allowPositionals: true,
      allowNegative: true,
      options: {
        only: { type: "string", default: "" },
        laps: { type: "string" },
        like: { type: "string" },
        alone: { type: "boolean", default: false },
        autotune: { type: "boolean" },
        out: { type: "string", default: "results" },
        help: { type: "boolean", default: false },
      },
    })
  );
  if (values.help) return console.log(help);
  const chosen = groupsOf(groups, positionals);
  const laps = values.laps === undefined ? undefined : lapsOf(values.laps);
  const like = values.like === undefined ? [] : (await readBench(values.like)).rows;
  const out = await outputFolder(values.out);
  const gpu = await openGpu({ autotune: values.autotune });
  const environment = await describeEnvironment(gpu);
  const yardstick = await yardstickRunner(gpu);
  const { absent, about } = values.alone ? { absent: [], about: "Without its peers." } : await peersHere();
  const leftOut = (library: Library) => library !== own && (values.alone || absent.includes(library));
  const rows: Row[] = [];
  let page = "";
  const asked = worksHolding(
    await Promise.all(chosen.map(async (group) => ({ group, works: await group.works(gpu) }))),
    values.only,
  );
  if (!values.alone) await checkPeers();
  for (const { group, works } of asked) {
    for (const work of works) {
      const slow = tooLong(rows.filter((row) => row.group === group.name), work);
      const entered = {
        ...work,
        ways: without(work.ways, (library) => leftOut(library) || slow.has(library)),
        cannot: without({ ...work.cannot, ...Object.fromEntries(slow) }, leftOut),
      };
      const runs = like.find((row) => row.group === group.name && row.name === work.name)?.runs;
      const row = await race(group, entered, yardstick, { laps, runs });
      rows.push(row);
      const times = row.measured.map(({ library, milliseconds, cannot }) =>
        `${library} ${cannot ?? `${Math.min(...milliseconds).toPrecision(3)} ms`}`
      );
      console.error(`${group.name}, ${work.name}: ${times.join(", ")}`);
    }
    // Written after every group, so that an interrupted run keeps what it has.
    if (rows.length > 0) {
      page = await benchPage.write(out, { schemaVersion: 1, environment, about, rows });
    }
  }
  console.log(page);
}

/** The entries of all libraries for which `leftOut` is false. */
function without<T>(
  entries: Readonly<Partial<Record<Library, T>>> = {},
  leftOut: (library: Library) => boolean,
) {
  return Object.fromEntries(Object.entries(entries).filter(([library]) => !leftOut(library as Library)));
}

await runCommand(main);
// The peers keep their devices open, and with them the event loop.
Deno.exit(0);
