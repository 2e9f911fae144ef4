/**
 * Renders a `.wgsl` file into the WGSL that a driver compiles. WGSL has no pointers to storage in function
 * parameters (naga rejects them), and drivers need not unroll loops of constant length, so sharing and
 * unrolling are done on the text. There are four directives, each alone on its line, and one substitution:
 *
 *     #include "index.wgsl"           a file of `wgsl/include/` registered below, or a part that the caller supplies
 *     #if EXPR … #else … #end         kept when EXPR is not 0
 *     #for i in A..B … #end           repeated for i = A … B−1
 *     ${EXPR}                         the value of EXPR
 *
 * EXPR is integer arithmetic (`+ - * / %`, comparisons, `&& || !`, parentheses) over the defines.
 */

import activation from "../../wgsl/include/activation.wgsl" with { type: "text" };
import attention from "../../wgsl/include/attention.wgsl" with { type: "text" };
import cache from "../../wgsl/include/cache.wgsl" with { type: "text" };
import gated from "../../wgsl/include/gated.wgsl" with { type: "text" };
import gelu from "../../wgsl/include/gelu.wgsl" with { type: "text" };
import linearIndex from "../../wgsl/include/index.wgsl" with { type: "text" };
import laneSums from "../../wgsl/include/lane_sums.wgsl" with { type: "text" };
import lowRank from "../../wgsl/include/low_rank.wgsl" with { type: "text" };
import lowRankTiles from "../../wgsl/include/low_rank_tiles.wgsl" with { type: "text" };
import matmul from "../../wgsl/include/matmul.wgsl" with { type: "text" };
import randomBits from "../../wgsl/include/random.wgsl" with { type: "text" };
import run from "../../wgsl/include/run.wgsl" with { type: "text" };
import softmaxSum from "../../wgsl/include/softmax_sum.wgsl" with { type: "text" };
import workgroupSum from "../../wgsl/include/workgroup_sum.wgsl" with { type: "text" };
import { evaluateExpression } from "./expression.ts";

/** Values of the names used in directives; booleans are written 0 and 1. */
export type Defines = Readonly<Record<string, number>>;

const includes: Readonly<Record<string, string>> = {
  "activation.wgsl": activation,
  "attention.wgsl": attention,
  "cache.wgsl": cache,
  "gated.wgsl": gated,
  "gelu.wgsl": gelu,
  "index.wgsl": linearIndex,
  "lane_sums.wgsl": laneSums,
  "low_rank.wgsl": lowRank,
  "low_rank_tiles.wgsl": lowRankTiles,
  "matmul.wgsl": matmul,
  "random.wgsl": randomBits,
  "run.wgsl": run,
  "softmax_sum.wgsl": softmaxSum,
  "workgroup_sum.wgsl": workgroupSum,
};

/** Templates that a kernel's caller supplies, by the name under which `#include` finds them. */
export type Parts = Readonly<Record<string, string>>;

/** What a template is rendered with. */
interface Scope {
  readonly defines: Defines;
  readonly parts: Parts;
}

/**
 * The WGSL text of `source` under `defines`. An include of a name in `parts` inserts that text.
 * @throws Error naming the template's line for an unknown name, directive or include, or a missing `#end`.
 */
export function render(source: string, defines: Defines, parts: Parts = {}): string {
  const out: string[] = [];
  const lines = source.split("\n");
  const end = renderBlock(lines, 0, { defines, parts }, out);
  if (end < lines.length) throw new Error(`line ${end + 1}: "${lines[end].trim()}" without #if or #for`);
  return out.join("\n").replace(/\n{3,}/g, "\n\n").trim() + "\n";
}

/** Renders from line `start` to the `#else` or `#end` that closes the block; returns that line's index. */
function renderBlock(lines: string[], start: number, scope: Scope, out: string[]): number {
  let at = start;
  while (at < lines.length) {
    const directive = lines[at].match(/^\s*#(\w+)\s*(.*)$/);
    if (!directive) {
      out.push(substitute(lines[at], scope.defines, at));
      at++;
      continue;
    }
    const [, word, rest] = directive;
    if (word === "end" || word === "else") return at;
    if (word === "include") at = renderInclude(rest, at, scope, out);
    else if (word === "if") at = renderIf(lines, at, rest, scope, out);
    else if (word === "for") at = renderFor(lines, at, rest, scope, out);
    else throw new Error(`line ${at + 1}: unknown directive #${word}`);
  }
  return at;
}

function renderInclude(rest: string, at: number, scope: Scope, out: string[]): number {
  const name = substitute(rest, scope.defines, at).trim().replaceAll('"', "");
  const part = scope.parts[name];
  if (part !== undefined) {
    // A part is lines within a function or between declarations, and keeps its indentation.
    renderBlock(part.split("\n"), 0, scope, out);
    return at + 1;
  }
  const text = includes[name];
  if (text === undefined) {
    const known = [...Object.keys(includes), ...Object.keys(scope.parts)];
    throw new Error(`line ${at + 1}: no include "${name}"; have ${known.join(", ")}`);
  }
  out.push(render(text, scope.defines, scope.parts));
  return at + 1;
}

function renderIf(lines: string[], at: number, rest: string, scope: Scope, out: string[]): number {
  const taken = evaluate(rest, scope.defines, at) !== 0;
  let close = taken ? renderBlock(lines, at + 1, scope, out) : skipBlock(lines, at + 1);
  if (lines[close]?.trim() === "#else") {
    close = taken ? skipBlock(lines, close + 1) : renderBlock(lines, close + 1, scope, out);
  }
  return expectEnd(lines, close, at);
}

function renderFor(lines: string[], at: number, rest: string, scope: Scope, out: string[]): number {
  const parts = rest.match(/^(\w+) in (.+?)\.\.(.+)$/);
  if (!parts) throw new Error(`line ${at + 1}: write "#for i in 0..N", not "#for ${rest}"`);
  const [, name, from, to] = parts;
  const last = evaluate(to, scope.defines, at);
  for (let i = evaluate(from, scope.defines, at); i < last; i++) {
    renderBlock(lines, at + 1, { ...scope, defines: { ...scope.defines, [name]: i } }, out);
  }
  return expectEnd(lines, skipBlock(lines, at + 1), at);
}

/** Index of the `#else` or `#end` that closes the block starting at `start`, nothing rendered. */
function skipBlock(lines: string[], start: number): number {
  let depth = 0;
  for (let at = start; at < lines.length; at++) {
    const word = lines[at].match(/^\s*#(\w+)/)?.[1];
    if (word === "if" || word === "for") depth++;
    else if (word === "end" && depth-- === 0) return at;
    else if (word === "else" && depth === 0) return at;
  }
  return lines.length;
}

function expectEnd(lines: string[], close: number, open: number): number {
  if (lines[close]?.trim() !== "#end") {
    throw new Error(`line ${open + 1}: "${lines[open].trim()}" has no #end`);
  }
  return close + 1;
}

function substitute(line: string, defines: Defines, at: number): string {
  return line.replace(/\$\{([^}]*)\}/g, (_, text: string) => String(evaluate(text, defines, at)));
}

function evaluate(text: string, defines: Defines, at: number): number {
  try {
    return evaluateExpression(text, defines);
  } catch (error) {
    throw new Error(`line ${at + 1}: ${(error as Error).message}`, { cause: error });
  }
}
