/** Selects the groups and works that the command line of `deno task bench` asks for. */

import { UsageError } from "../tasks/usage.ts";
import type { Group, Work } from "./work.ts";

/** A group, with the works of it that are run. */
export interface ChosenGroup {
  readonly group: Group;
  readonly works: readonly Work[];
}

/** The groups with these names, or all if there are no names. Throws a UsageError that lists the names. */
export function groupsOf(groups: readonly Group[], names: readonly string[]): Group[] {
  const unknown = names.find((name) => groups.every((group) => group.name !== name));
  if (unknown !== undefined) {
    throw new UsageError(`no group "${unknown}"; have ${groups.map(({ name }) => name).join(", ")}`);
  }
  return groups.filter(({ name }) => names.length === 0 || names.includes(name));
}

/** The works whose names contain `text`. Throws a UsageError if there is none in any group. */
export function worksHolding(chosen: readonly ChosenGroup[], text: string): ChosenGroup[] {
  const held = chosen.map(({ group, works }) => ({
    group,
    works: works.filter(({ name }) => name.includes(text)),
  }));
  if (held.every(({ works }) => works.length === 0)) {
    throw new UsageError(`no work of ${chosen.map(({ group }) => group.name).join(", ")} holds "${text}"`);
  }
  return held;
}
