/**
 * Kernels as SPIR-V, made by the compiler of WGSL in Deno (naga) as in a training run. Deno does not give its
 * SPIR-V away: a Vulkan layer between it and a driver takes it down.
 */

import { fileURLToPath } from "node:url";
import type { Kernel } from "../../lib/gpu/kernel.ts";
import { driverFile } from "./mesa.ts";

/** The layer's name, for the loader. */
const layerName = "VK_LAYER_BORA_spirv";

/** The Vulkan loader's description of the layer. */
function manifest(library: string) {
  return {
    file_format_version: "1.1.2",
    layer: {
      name: layerName,
      type: "GLOBAL",
      library_path: library,
      api_version: "1.3.0",
      implementation_version: "1",
      description: "writes the SPIR-V of shader modules",
      functions: {
        vkGetInstanceProcAddr: "spirv_instance_proc",
        vkGetDeviceProcAddr: "spirv_device_proc",
      },
    },
  };
}

/**
 * Writes each kernel's SPIR-V to its path; no file may be there yet. `layer` is the compiled `spirv_layer.c`, and
 * `folder` one for files of this function's own. Mesa's llvmpipe (lvp) must be installed. Returns why kernels were refused, by their paths.
 * @throws Error with the process's words when it fails, or when a kernel that was accepted left no file.
 */
export async function compileToSpirv(
  kernels: ReadonlyMap<string, Kernel>,
  layer: string,
  folder: string,
): Promise<Map<string, string>> {
  await Deno.writeTextFile(`${folder}/spirv_layer.json`, JSON.stringify(manifest(layer)));
  const process = new Deno.Command(Deno.execPath(), {
    args: ["run", "--allow-all", fileURLToPath(new URL("spirv_process.ts", import.meta.url))],
    env: {
      DENO_WEBGPU_BACKEND: "vulkan",
      VK_LAYER_PATH: folder,
      VK_INSTANCE_LAYERS: layerName,
      VK_DRIVER_FILES: (await driverFile("lvp"))!,
    },
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const writer = process.stdin.getWriter();
  await writer.write(new TextEncoder().encode(JSON.stringify([...kernels])));
  await writer.close();
  const { success, stdout, stderr } = await process.output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes).trim();
  if (!success) throw new Error(`the kernels cannot be compiled to SPIR-V: ${text(stderr)}`);
  const refused = new Map<string, string>(JSON.parse(text(stdout)));
  for (const path of kernels.keys()) {
    if (!refused.has(path)) await Deno.stat(path);
  }
  return refused;
}
