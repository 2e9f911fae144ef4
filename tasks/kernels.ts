/**
 * `deno task kernels`: compiles the kernels of training steps for GPUs that are not there, by their makers'
 * compilers, and writes results/kernels.{md,json}. `--help` lists the options.
 */

import { parseArgs } from "node:util";
import { kernelsPage } from "../lib/report/kernels_page.ts";
import { compileKernels } from "./kernels/run.ts";
import { targets } from "./kernels/targets.ts";
import { outputFolder } from "./output.ts";
import { asUsage, runCommand, UsageError } from "./usage.ts";

const names = targets.map(({ name }) => name).join(", ");

const help = `deno task kernels [options]

Compiles every kernel of a BoRA and a LoRA training step, of one layer each of RoBERTa-base, USE-lite and LLaMA-3-8B, and of a step,
a prefill and a token of one packed layer of LLaMA-3-8B and SmolLM2, for GPUs that are not there, and writes what the makers' compilers
tell: registers, spills, waves in flight, the mix of the hot loop.
Nothing is run, so there are no times. Takes about eight minutes on two cores. deno task compare BASE HEAD compares two records.

It wants a C compiler, Mesa's Vulkan drivers and the headers of Vulkan and libdrm, which it installs as root on Debian and
names elsewhere, and NVIDIA's compiler NVRTC (90 MB to download, 230 MB in the user's cache folder), which it fetches with pip.

  --target NAME    only for this GPU (repeatable): ${names}
  --skip-missing   go on without a target that cannot be had
  --out DIR        where to write kernels.md and kernels.json (default: results)
  --help           this text
`;

async function main(): Promise<void> {
  const { values } = asUsage(() =>
    parseArgs({
      options: {
        target: { type: "string", multiple: true },
        "skip-missing": { type: "boolean", default: false },
        out: { type: "string", default: "results" },
        help: { type: "boolean", default: false },
      },
    })
  );
  if (values.help) return console.log(help);
  for (const name of values.target ?? []) {
    if (targets.every((target) => target.name !== name)) {
      throw new UsageError(`no target "${name}"; have ${names}`);
    }
  }
  const chosen = targets.filter(({ name }) => values.target?.includes(name) ?? true);
  const out = await outputFolder(values.out);
  const record = await compileKernels(chosen, { skipMissing: values["skip-missing"], log: console.log });
  await kernelsPage.write(out, record);
  console.log(`Wrote ${out}/kernels.md`);
}

await runCommand(main);
