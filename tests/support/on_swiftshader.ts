/**
 * `deno task test:swiftshader`: the cases of every op and a training step of every model family on
 * SwiftShader, a second driver whose roundings, subgroups and limits differ from Mesa's. Fails where
 * SwiftShader is missing, and says how to get it.
 */

import { parseArgs } from "node:util";
import { drivers } from "../../tasks/conformance/drivers.ts";
import { asUsage, runCommand } from "../../tasks/usage.ts";

await runCommand(async () => {
  asUsage(() => parseArgs({ options: {} }));
  const { find, toGet } = drivers.find(({ id }) => id === "swiftshader")!;
  const env = await find();
  if (!env) throw new Error(`SwiftShader is not here, and nothing was tested. ${toGet}`);
  const { code } = await new Deno.Command(Deno.execPath(), {
    args: [
      "test",
      "--allow-all",
      "--parallel",
      "tests/attention_cases_test.ts",
      "tests/ops_test.ts",
      "tests/packing_test.ts",
      "tests/steps_test.ts",
    ],
    // Without Vulkan Deno would take an OpenGL driver, and not say so.
    env: { ...env, DENO_WEBGPU_BACKEND: "vulkan" },
  }).spawn().status;
  Deno.exitCode = code;
});
