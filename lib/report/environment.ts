/** Describes where a run takes place: adapter, runtime, machine and commit. */

import { fileURLToPath } from "node:url";
import * as v from "npm:valibot@1.5.0";
import { isFile, readJson } from "../files.ts";
import type { Gpu } from "../gpu/device.ts";
import { readDriver } from "../gpu/driver.ts";
import { type Environment, environmentSchema } from "./schema.ts";

/** Reads the machine's description and, if git is available, the commit. */
export async function describeEnvironment(
  { adapter, tuner }: Pick<Gpu, "adapter" | "tuner">,
): Promise<Environment> {
  const driver = await readDriver(adapter);
  const machine = await describeMachine();
  return {
    adapter: adapter.name,
    ...driver === undefined ? {} : { driver },
    software: adapter.software,
    ...machine,
    // The autotuner changes timings, so it is part of the environment that records are compared by.
    runtime: `${machine.runtime}${tuner ? ", autotuned" : ""}`,
  };
}

/** The part of an environment that is there without an adapter. */
export async function describeMachine(): Promise<Omit<Environment, "adapter" | "driver" | "software">> {
  return {
    runtime: `Deno ${Deno.version.deno}`,
    system: `${Deno.build.os} ${Deno.build.arch}`,
    cpus: navigator.hardwareConcurrency,
    ...await readCommit(),
  };
}

/** What a packed copy says of its commit (`deno task gpu --pack`): it has no history of its own. */
const packedCommit = new URL("../../commit.json", import.meta.url);

/** Reads the commit, or says why it is unknown. Running from a tarball or without git is fine. */
async function readCommit(): Promise<Pick<Environment, "commit" | "dirty">> {
  if (packedCommit.protocol === "file:" && await isFile(fileURLToPath(packedCommit))) {
    return await readJson(fileURLToPath(packedCommit), v.pick(environmentSchema, ["commit", "dirty"]));
  }
  try {
    const head = await git(["rev-parse", "HEAD"]);
    if (head === undefined) return { commit: "unknown (git finds none here)", dirty: false };
    // Results being written do not count as changes to the code.
    const changes = await git(["status", "--porcelain", "--", ":!results"]);
    return { commit: head, dirty: changes !== "" };
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return { commit: "unknown (no git)", dirty: false };
    throw error;
  }
}

/** Output of a git command; undefined if it fails. */
async function git(args: string[]): Promise<string | undefined> {
  const { success, stdout } = await new Deno.Command("git", { args, stderr: "null" }).output();
  return success ? new TextDecoder().decode(stdout).trim() : undefined;
}
