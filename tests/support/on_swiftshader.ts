/**
 * `deno task test:swiftshader`: every op's cases and a training step of every family of models on SwiftShader, a second driver with
 * other roundings, subgroups and limits than Mesa's. Where it is not here, says how to get it.
 */

import { drivers } from "../../tasks/conformance/drivers.ts";

const { find, toGet } = drivers.find(({ id }) => id === "swiftshader")!;
const env = await find();
if (!env) {
  console.log(`Skipped: SwiftShader is not here. ${toGet}`);
  Deno.exit();
}
const { code } = await new Deno.Command(Deno.execPath(), {
  args: [
    "test",
    "--allow-all",
    "--preload=tasks/quiet_driver.ts",
    "tests/ops_test.ts",
    "tests/steps_test.ts",
    ...Deno.args,
  ],
  // Without Vulkan Deno would take an OpenGL driver, and not say so.
  env: { ...env, DENO_WEBGPU_BACKEND: "vulkan" },
}).spawn().status;
Deno.exit(code);
