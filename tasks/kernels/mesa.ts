/** Mesa's Vulkan drivers, which compile kernels for GPUs that are not there. */

const folder = "/usr/share/vulkan/icd.d";

/** The Vulkan loader's description of one of Mesa's drivers, such as `radeon`; its name differs between releases. */
export async function driverFile(name: string): Promise<string> {
  for await (const { name: file } of Deno.readDir(folder)) {
    if (new RegExp(`^${name}_icd(\\.x86_64)?\\.json$`).test(file)) return `${folder}/${file}`;
  }
  throw new Error(`Mesa's driver ${name} is not in ${folder}`);
}
