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
import { type Peer, type PeerName, peerNames, peers } from "./peers.ts";
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
  --peer NAME race only against this peer (repeatable): ${peerNames.join(", ")}
  --alone     run this library without its peers
  --autotune  use the fastest of this library's kernels for each matrix product; see deno task reproduce --help
  --no-autotune  do not: the default on software drivers
  --out DIR   where to write (default: results)
  --help      this text

The first run downloads the other libraries (190 MB).
`;

/** The peers among `asked` that are available, and the page's sentence on all of them. */
async function peersHere(
  asked: readonly PeerName[],
): Promise<{ here: readonly PeerName[]; about: string }> {
  if (asked.length === 0) return { here: [], about: "Without its peers." };
  const torch = new Map<PeerName, Awaited<ReturnType<typeof torchVersion>>>();
  for (const [name, device] of [["PyTorch", "cpu"], ["PyTorch CUDA", "cuda"]] as const) {
    if (asked.includes(name)) torch.set(name, await torchVersion(device));
  }
  const here = asked.filter((name) => !torch.has(name) || torch.get(name));
  const on = (place: Peer["place"], called: string) => {
    const names = here.filter((name) => peers[name].place === place).map((name) => {
      const version = torch.get(name);
      return `${name} ${version ? `${version.version} (${version.place}), ` : ""}${peers[name].about}`;
    });
    return names.length > 0 ? [`${called}: ${names.join("; ")}.`] : [];
  };
  return {
    here,
    about: [
      ...on("WebGPU", "Peers on the same adapter"),
      ...on("CPU", "On the CPU"),
      ...on("CUDA", "On CUDA"),
      ...asked.filter((name) => !here.includes(name)).map((name) => `No ${name}: python3 has none here.`),
    ].join(" "),
  };
}

/** The peers that the command line asks for. */
function askedPeers(alone: boolean, names: readonly string[] = peerNames): readonly PeerName[] {
  const unknown = names.find((name) => !(peerNames as readonly string[]).includes(name));
  if (unknown !== undefined) throw new UsageError(`no peer "${unknown}"; have ${peerNames.join(", ")}`);
  return alone ? [] : names as readonly PeerName[];
}

/** Milliseconds of a group's works after which they are written, so that an interrupted run keeps what it has. */
const keepEvery = 10_000;

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
        peer: { type: "string", multiple: true },
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
  const asked = askedPeers(values.alone, values.peer);
  const out = await outputFolder(values.out);
  const gpu = await openGpu({ autotune: values.autotune });
  const environment = await describeEnvironment(gpu);
  const yardstick = await yardstickRunner(gpu);
  const { here, about } = await peersHere(asked);
  const leftOut = (library: Library) => library !== own && !here.includes(library);
  const on = gpu.adapter.software ? "software" : "hardware";
  const rows: Row[] = [];
  let [page, written] = ["", performance.now()];
  const keep = async () => {
    page = await benchPage.write(out, { schemaVersion: 1, environment, about, rows });
    written = performance.now();
  };
  const raced = worksHolding(
    await Promise.all(chosen.map(async (group) => ({ group, works: await group.works(gpu) }))),
    values.only,
  );
  await checkPeers(here);
  for (const { group, works } of raced) {
    for (const work of works) {
      const slow = tooLong(rows.filter((row) => row.group === group.name), work);
      const entered = {
        ...work,
        ways: without(work.ways, (library) => leftOut(library) || slow.has(library)),
        cannot: without({ ...work.cannot, ...Object.fromEntries(slow) }, leftOut),
      };
      const runs = like.find((row) => row.group === group.name && row.name === work.name)?.runs;
      const row = await race(group, entered, yardstick, { laps, runs, on });
      rows.push(row);
      const times = row.measured.map(({ library, milliseconds, cannot }) =>
        `${library} ${cannot ?? `${Math.min(...milliseconds).toPrecision(3)} ms`}`
      );
      console.error(`${group.name}, ${work.name}: ${times.join(", ")}`);
      if (performance.now() - written > keepEvery) await keep();
    }
    if (rows.length > 0) await keep();
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
