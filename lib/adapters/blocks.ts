/** The number of blocks b that a weight is divided into. */

import type { LinearModule } from "../models/model.ts";

/** Numbers of blocks that divide both dimensions of an m×n weight, ascending. */
function validBlocks(m: number, n: number): number[] {
  return Array.from({ length: Math.min(m, n) }, (_, i) => i + 1).filter((b) => m % b === 0 && n % b === 0);
}

/**
 * The number of blocks b for a layer. "auto" is the largest common divisor of m and n that is at most ⌊√n⌋
 * (the paper's choice is b = ⌊√n⌋, which need not divide) and for which `suits` returns true; 1 is always
 * accepted.
 * @throws Error that names m, n, b and the nearest valid numbers when b does not divide both dimensions.
 */
export function resolveBlocks(
  { path, m, n }: LinearModule,
  blocks: number | "auto",
  suits: (b: number) => boolean = () => true,
): number {
  const valid = validBlocks(m, n);
  if (blocks === "auto") return valid.findLast((b) => b === 1 || b <= Math.floor(Math.sqrt(n)) && suits(b))!;
  if (valid.includes(blocks)) return blocks;
  const below = valid.filter((b) => b < blocks).at(-1);
  const above = valid.find((b) => b > blocks);
  const nearest = [below, above].filter((b) => b !== undefined).join(" or ");
  throw new Error(`blocks ${blocks} do not divide ${path} (m = ${m}, n = ${n}): use ${nearest}, or "auto"`);
}
