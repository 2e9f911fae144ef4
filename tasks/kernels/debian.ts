/** What targets need of the system's packages: looked for, installed where that is allowed, else named. */

import { isFile } from "../../lib/files.ts";
import { driverFile } from "./mesa.ts";

/** A target cannot be had on this machine. The message says what to do. */
export class MissingTarget extends Error {}

/** Something of the system's packages. */
export interface SystemNeed {
  readonly is: string;
  /** The Debian packages that bring it. */
  readonly packages: readonly string[];
  isHere(): Promise<boolean>;
}

export const compilerOfC: SystemNeed = {
  is: "a C compiler",
  packages: ["gcc", "libc6-dev"],
  isHere: () => runs("cc", ["--version"]),
};

export const vulkanHeaders: SystemNeed = {
  is: "Vulkan's headers and loader",
  packages: ["libvulkan-dev"],
  isHere: () => isFile("/usr/include/vulkan/vulkan.h"),
};

export const drmHeaders: SystemNeed = {
  is: "libdrm's headers",
  packages: ["libdrm-dev"],
  isHere: () => isFile("/usr/include/libdrm/i915_drm.h"),
};

/** One of Mesa's Vulkan drivers. */
export function mesaDriver(name: string): SystemNeed {
  return {
    is: `Mesa's Vulkan driver ${name}`,
    packages: ["mesa-vulkan-drivers"],
    isHere: async () => await driverFile(name) !== undefined,
  };
}

/**
 * Makes sure that all of `needs` are here. As root on Debian it installs what is missing; apt-get says how much
 * it downloads.
 * @throws MissingTarget with the command that installs what is missing.
 */
export async function provide(needs: readonly SystemNeed[]): Promise<void> {
  const missing = await missingOf(needs);
  if (missing.length === 0) return;
  const packages = [...new Set(missing.flatMap((need) => need.packages))];
  if (Deno.uid() === 0 && await runs("apt-get", ["--version"])) await install(packages);
  const left = await missingOf(needs);
  if (left.length === 0) return;
  throw new MissingTarget(
    `${left.map(({ is }) => is).join(", ")} missing. On Debian, as root: apt-get install -y ${
      packages.join(" ")
    }; elsewhere the same of your system's packages`,
  );
}

/** Those of `needs` that are not here. */
export async function missingOf(needs: readonly SystemNeed[]): Promise<SystemNeed[]> {
  const here = await Promise.all(needs.map((need) => need.isHere()));
  return needs.filter((_, i) => !here[i]);
}

async function install(packages: readonly string[]): Promise<void> {
  console.log(`Installing with apt-get: ${packages.join(" ")}`);
  for (const args of [["update"], ["install", "-y", "--no-install-recommends", ...packages]]) {
    const { success } = await new Deno.Command("apt-get", {
      args,
      env: { DEBIAN_FRONTEND: "noninteractive" },
    }).spawn().status;
    if (!success) throw new MissingTarget(`apt-get ${args[0]} failed, for the reason above: do it by hand`);
  }
}

async function runs(command: string, args: string[]): Promise<boolean> {
  try {
    return (await new Deno.Command(command, { args, stdout: "null", stderr: "null" }).output()).success;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}
