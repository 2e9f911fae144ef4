/** Where a run takes place: adapter, runtime, machine and commit. */

import type { Gpu } from "../gpu/device.ts";
import { readDriver } from "../gpu/driver.ts";
import type { Environment } from "./schema.ts";

/** Reads the machine and, where git is there, the commit. */
export async function describeEnvironment(
  { adapter, tuner }: Pick<Gpu, "adapter" | "tuner">,
): Promise<Environment> {
  const driver = await readDriver(adapter);
  return {
    adapter: adapter.name,
    ...driver === undefined ? {} : { driver },
    software: adapter.software,
    // The tuner changes what takes how long, and so belongs to what records are compared by.
    runtime: `Deno ${Deno.version.deno}${tuner ? ", autotuned" : ""}`,
    system: `${Deno.build.os} ${Deno.build.arch}`,
    cpus: navigator.hardwareConcurrency,
    ...await readCommit(),
  };
}

/** The commit, or why it is not known: a tarball, or a machine without git, is a fine place to run from. */
async function readCommit(): Promise<Pick<Environment, "commit" | "dirty">> {
  try {
    const head = await git(["rev-parse", "HEAD"]);
    if (head === undefined) return { commit: "unknown (git finds none here)", dirty: false };
    // Results that are being written are no change to the code that writes them.
    const changes = await git(["status", "--porcelain", "--", ":!results"]);
    return { commit: head, dirty: changes !== "" };
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return { commit: "unknown (no git)", dirty: false };
    throw error;
  }
}

/** Output of a git command; undefined where it fails. */
async function git(args: string[]): Promise<string | undefined> {
  const { success, stdout } = await new Deno.Command("git", { args, stderr: "null" }).output();
  return success ? new TextDecoder().decode(stdout).trim() : undefined;
}
