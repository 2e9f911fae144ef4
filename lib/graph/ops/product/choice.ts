/** The kernel of a block product on a device: the tuned one, else the default of the policy's table. */

import type { DeviceTraits } from "../../../gpu/kernel.ts";
import type { Choice } from "../../graph.ts";
import { storageNamed } from "../../storages/registry.ts";
import { type Epilogue, isLinear } from "./epilogue.ts";
import type { Candidate } from "./kernels.ts";
import { defaultRule, pieceOfK, rulesFor } from "./policy.ts";
import type { Problem } from "./problem.ts";

/**
 * Whether the product may be split along k into several launches. Epilogues that need the whole sum cannot be
 * merged into it then.
 */
export function mayBeCut({ transposeB, k }: Problem): boolean {
  return !transposeB && k > 2 * pieceOfK.rows;
}

/**
 * Length of k per launch, the same for every kernel, so that all candidates sum in one order and give the
 * same bits.
 */
export function pieceOf(epilogue: Epilogue, problem: Problem, device: DeviceTraits): number {
  const isCut = device.software && isLinear(epilogue) && mayBeCut(problem) &&
    defaultRule(problem, device).use.kernel === "subgroup";
  if (!isCut) return problem.k;
  return storageNamed(problem.storage).strideOf ? pieceOfK.inPieces : pieceOfK.rows;
}

/** A candidate, and the products that its row of the table is made for. */
interface Listed extends Candidate {
  readonly of: string;
}

/** Every kernel that computes the product on the device, the default first. */
export function candidates(problem: Problem, device: DeviceTraits): Listed[] {
  const { alternative } = storageNamed(problem.storage);
  const also = alternative?.needs && device[alternative.needs] ? [{ ...problem, reading: alternative }] : [];
  const all = [problem, ...also].flatMap((own) =>
    rulesFor(own, device).map(({ of, use }): Listed => {
      const candidate = use.on(own, device);
      const suffix = own === problem ? "" : `, ${own.reading.needs}`;
      return { ...candidate, name: candidate.name + suffix, of };
    })
  );
  // The autotuner has no place for what the launches of two stages leave to each other.
  if (all[0].joined) return [all[0]];
  // A kernel that several rows name counts where it stands first.
  return all.filter(({ name }, i) => all.findIndex((other) => other.name === name) === i);
}

/** The candidates, and the one among them that the device takes: the tuned one, else the default. */
function choiceOf(problem: Problem, device: DeviceTraits) {
  const all = candidates(problem, device);
  const tuned = all.find(({ name }) => name === device.choices?.get(bucketOf(problem)));
  return { all, taken: tuned ?? all[0], isTuned: tuned !== undefined };
}

/** The kernel that the device takes for products like this one. */
export function chosen(problem: Problem, device: DeviceTraits): Candidate {
  if (device.choices?.has(bucketOf(problem))) return choiceOf(problem, device).taken;
  return defaultRule(problem, device).use.on(problem, device);
}

/** Whether the device's default for the product gives bits of its own, so that no other kernel may take its place. */
export function isAlone(problem: Problem, device: DeviceTraits): boolean {
  return defaultRule(problem, device).use.reorders ?? false;
}

/** Why a product gets its kernel. */
export function explain(problem: Problem, device: DeviceTraits): Choice {
  const { all, taken, isTuned } = choiceOf(problem, device);
  const lanes = device.subgroupSize > 0 ? `subgroups of ${device.subgroupSize}` : "no fixed subgroup size";
  const table = device.software ? "software drivers" : "GPUs";
  const why = isTuned
    ? `tuned for ${bucketOf(problem)}`
    : `default for ${taken.of} in the table of ${table} (${lanes})`;
  const insteadOf = all.filter((one) => one !== taken).map(({ name }) => name);
  const { m, n, k, blocks, storage } = problem;
  const size = `${layoutName(problem)} ${m}×${n}×${k}${
    blocks > 1 ? `, ${blocks} blocks,` : ""
  } of ${storage}`;
  return { problem: size, kernel: taken.name, why, insteadOf };
}

/** NN, NT or TN; TNᵀ if C is stored transposed. */
function layoutName({ transposeA, transposeB, transposeC }: Problem): string {
  return `${transposeA ? "T" : "N"}${transposeB ? "T" : "N"}${transposeC ? "ᵀ" : ""}`;
}

/** The key by which products share a choice: layout, storage, and extents rounded up to powers of two. */
export function bucketOf(problem: Problem): string {
  const { blocks, m, n, k, vectors, storage } = problem;
  const upTo = (extent: number) => 2 ** Math.ceil(Math.log2(extent));
  const width = Object.entries(vectors).filter(([, wide]) => wide).map(([name]) => name).join("");
  const size = [m, n, k].map(upTo).join("×");
  return `product ${layoutName(problem)} ${size}, ${upTo(blocks)} blocks, vec4 ${
    width || "none"
  }, ${storage}`;
}
