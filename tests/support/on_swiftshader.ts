/**
 * `deno task test:swiftshader`: every op's cases and a training step of every family of models on SwiftShader, a second driver with
 * other roundings, subgroups and limits than Mesa's. Where it is not here, says how to get it.
 */

import { parseArgs } from "node:util";
import { drivers } from "../../tasks/conformance/drivers.ts";
import { asUsage, runCommand } from "../../tasks/usage.ts";

await runCommand(async () => {
  asUsage(() => parseArgs({ options: {} }));
  const { find, toGet } = drivers.find(({ id }) => id === "swiftshader")!;
  const env = await find();
  if (!env) return console.log(`Skipped: SwiftShader is not here. ${toGet}`);
  const { code } = await new Deno.Command(Deno.execPath(), {
    args: [
      "test",
      "--allow-all",
      "--preload=tasks/quiet_driver.ts",
      "tests/ops_test.ts",
      "tests/steps_test.ts",
    ],
    // Without Vulkan Deno would take an OpenGL driver, and not say so.
    env: { ...env, DENO_WEBGPU_BACKEND: "vulkan" },
  }).spawn().status;
  Deno.exitCode = code;
});
