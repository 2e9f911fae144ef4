/** Converts between `Targeting` and the targeting fields of PEFT's `adapter_config.json`. */

import { headPathsOf, type LinearModule, type Model } from "../models/model.ts";
import type { Adapter } from "./attach.ts";
import type { AdapterOptions, Method } from "./method.ts";
import { moduleOf } from "./names.ts";
import { resolveOptions } from "./options.ts";
import { bareLinears, pathsWith } from "./peft_keys.ts";
import {
  type AdaptedModule,
  adaptedModules,
  ancestorsOf,
  isEndOfPath,
  isNamed,
  isWithin,
  layerOf,
  namesHead,
  patternMatcher,
  regularExpression,
  selectModules,
  type Targeted,
  type Targeting,
} from "./targeting.ts";

/** The fields of `adapter_config.json` that select layers. */
export interface PeftTargets {
  readonly [name: string]: unknown;
  readonly target_modules?: string | readonly string[] | null;
  readonly layers_to_transform?: number | readonly number[] | null;
  readonly rank_pattern?: Readonly<Record<string, number>> | null;
  readonly alpha_pattern?: Readonly<Record<string, number>> | null;
  readonly modules_to_save?: readonly string[] | null;
}

/**
 * PEFT's `target_modules` for an adapter. Names that are ends of paths are kept. Full paths are written where
 * PEFT would not select the same layers by name: for a regular expression, layer numbers or this library's
 * own names, and where a name also matches a layer of a head that is not saved.
 */
export function targetModules(
  model: Model,
  { targeting: { target, layers }, modules, trainedBase }: Adapter,
  hasHead: boolean,
): string[] {
  const paths = modules.map(({ module }) => module.path);
  const inHead = (name: string) =>
    !hasHead && headPathsOf(model.head).some((path) => isEndOfPath(path, name));
  const ends: readonly string[] = Array.isArray(target) ? target : [];
  const isNamed = (path: string) => ends.some((name) => isEndOfPath(path, name));
  const areEnds = !layers && !ends.some(inHead) && paths.every(isNamed) &&
    ![...trainedBase].some((name) => isNamed(moduleOf(name)));
  return [...new Set(areEnds ? ends : paths)].toSorted();
}

/**
 * PEFT's `modules_to_save` without the head. Names are kept, except where one module lies inside another or
 * also matches the head, which PEFT can save but not load: then the full paths of the outermost modules are
 * written.
 */
export function savedModules(model: Model, { modulesToSave = [] }: Targeting): string[] {
  const paths = [...model.weights.keys()].flatMap((name) => ancestorsOf(moduleOf(name)));
  const named = [...new Set(paths)].filter((path) => modulesToSave.some((name) => path.endsWith(name)));
  const outermost = named.filter((path) => !named.some((other) => path.startsWith(`${other}.`)));
  const ofBase = modulesToSave.filter((name) => named.some((path) => path.endsWith(name)));
  const areApart = outermost.length === named.length && !ofBase.some((name) => namesHead(model, name));
  return [...new Set(areApart ? ofBase : outermost)];
}

/**
 * A key of `rank_pattern` that matches only the layer at `path`. Not by RegExp.escape: it writes a path's first
 * letter as a character code, which is unreadable.
 */
export function patternFor(path: string): string {
  return `^${path.replaceAll(/\W/g, "\\$&")}`;
}

/** A `rank_pattern` that gives each layer the rank that its tensor A, whose keys end in `suffix`, has in the file. */
export function ranksOf(
  suffix: string,
  places: ReadonlyMap<string, { readonly shape: readonly number[] }>,
): Record<string, number> {
  const paths = [...pathsWith(suffix, places.keys())];
  return Object.fromEntries(paths.map(([key, path]) => [patternFor(path), places.get(key)!.shape[0]]));
}

/**
 * The patterns that match the first of the layers to which `alpha_pattern` gives several values; undefined if there is none. PEFT sorts
 * the patterns when it saves them, so the first in the file, which counts, need not have been the first in training.
 */
export function overlapping(
  paths: readonly string[],
  patterns: Readonly<Record<string, number>>,
): { readonly path: string; readonly patterns: readonly string[] } | undefined {
  const all = Object.entries(patterns).map(([pattern, value]) => ({
    pattern,
    value,
    matches: patternMatcher("alpha", pattern),
  }));
  return paths.map((path) => ({ path, matching: all.filter(({ matches }) => matches(path)) }))
    .filter(({ matching }) => new Set(matching.map(({ value }) => value)).size > 1)
    .map(({ path, matching }) => ({ path, patterns: matching.map(({ pattern }) => pattern) })).at(0);
}

/**
 * The values of an option in layers where it differs from the adapter's, by a pattern that matches only that
 * layer.
 */
export function differing(
  modules: readonly AdaptedModule[],
  options: AdapterOptions,
  option: "r" | "alpha",
): Record<string, number> {
  const value = (of: object) => (of as Readonly<Record<string, number>>)[option];
  const others = modules.filter((adapted) => value(adapted.options) !== value(options));
  return Object.fromEntries(others.map((adapted) => [
    patternFor(adapted.module.path),
    value(adapted.options),
  ]));
}

/**
 * PEFT's interpretation of a string in `target_modules`: "all-linear", or a regular expression for the whole
 * path.
 */
function targetOf(path: string, target: string): RegExp | "all-linear" {
  return target.toLowerCase() === "all-linear"
    ? "all-linear"
    : regularExpression(`^(?:${target})$`, `${path}: target_modules`);
}

/** True for a setting that PEFT takes for one: an empty list is none. */
export function isSet(value: unknown): boolean {
  return Array.isArray(value) ? value.length > 0 : Boolean(value);
}

/** The targeting for the model as `seen`. Like PEFT, this ignores names, layers and patterns that match nothing. */
function targetingIn(path: string, seen: Model, config: PeftTargets): Targeting {
  const { target_modules: target, layers_to_transform: layers } = config;
  const unsupported = ["exclude_modules", "layers_pattern"].find((name) => isSet(config[name]));
  if (unsupported) {
    throw new Error(`${path}: ${unsupported} is not supported: name the layers themselves in target_modules`);
  }
  if (!target) {
    throw new Error(`${path}: target_modules is missing: name the layers, such as ["query", "value"]`);
  }
  const paths = [...seen.weights.keys(), ...seen.packed?.keys() ?? []].map(moduleOf);
  const saved = (config.modules_to_save ?? []).filter((name) => paths.some((own) => isWithin(own, name)));
  const anywhere = {
    target: typeof target === "string" ? targetOf(path, target) : namesHere(seen, target),
    modulesToSave: saved.length > 0 ? saved : undefined,
  };
  const numbers = typeof layers === "number" ? [layers] : layers ?? [];
  const where = { ...anywhere, layers: layersHere(selectModules(seen, anywhere), numbers) };
  const selected = selectModules(seen, where);
  const patterns = (option: string, all: Readonly<Record<string, number>> | null | undefined) => {
    const matches = (pattern: string) => {
      const matcher = patternMatcher(option, pattern);
      return selected.some(({ path }) => matcher(path));
    };
    return unlessEmpty(Object.fromEntries(Object.entries(all ?? {}).filter(([pattern]) => matches(pattern))));
  };
  return {
    ...where,
    rankPattern: patterns("r", config.rank_pattern),
    alphaPattern: patterns("alpha", config.alpha_pattern),
  };
}

function unlessEmpty(pattern: Readonly<Record<string, number>>) {
  return Object.keys(pattern).length > 0 ? pattern : undefined;
}

/** The names that select a layer; if none does, all of them, so that `attach` reports the error. */
function namesHere({ linears }: Targeted, names: readonly string[]): readonly string[] {
  const here = names.filter((name) => linears.some((module) => isNamed(module, name)));
  return here.length > 0 ? here : names;
}

/** The numbers that select a layer; if none does, all of them, so that `attach` reports the error. Undefined if there are none. */
function layersHere(
  modules: readonly LinearModule[],
  numbers: readonly number[],
): readonly number[] | undefined {
  const here = numbers.filter((number) => modules.some(({ path }) => layerOf(path) === number));
  if (here.length > 0) return here;
  return numbers.length > 0 ? numbers : undefined;
}

/**
 * The targeting of the configuration at `path` for a method with options `own`. `bare`: the adapter's paths
 * are those of the bare trunk.
 * @throws Error that names the file when nothing is selected or a field is not supported.
 */
export function targetingOf(
  path: string,
  model: Model,
  config: PeftTargets,
  method: Method,
  own: object,
  bare: boolean,
): Targeting {
  if (!bare) return targetingIn(path, model, config);
  const seen = { ...model, linears: bareLinears(model) };
  const targeting = targetingIn(path, seen, config);
  const options = resolveOptions(method, own);
  const modules = adaptedModules(seen, method, options, targeting).map(({ module, options }) => ({
    module: { ...module, path: `${model.trunk}.${module.path}` },
    options,
  }));
  return {
    target: modules.map(({ module }) => module.path),
    rankPattern: unlessEmpty(differing(modules, options, "r")),
    alphaPattern: unlessEmpty(differing(modules, options, "alpha")),
    modulesToSave: targeting.modulesToSave,
  };
}
